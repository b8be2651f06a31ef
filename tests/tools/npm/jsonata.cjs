// Evaluates expressions of state machines. The argument is a file with a JSON list of {expression,
// states}; prints the list of results, each {value}, {nothing: true} or {error: true}. `$random` is
// always a half.

const fs = require('fs')
const jsonata = require('jsonata')

async function evaluate({ expression, states }) {
  const compiled = jsonata(expression)
  compiled.assign('states', states)
  compiled.registerFunction('parse', text => JSON.parse(text), '<s:x>')
  compiled.registerFunction('random', () => 0.5, '<:n>')
  try {
    const value = await compiled.evaluate({})
    // The other implementation does not distinguish null from nothing.
    return value === undefined || value === null ? { nothing: true } : { value }
  } catch (error) {
    return { error: true }
  }
}

async function main() {
  const cases = JSON.parse(fs.readFileSync(process.argv[2], 'utf8'))
  console.log(JSON.stringify(await Promise.all(cases.map(evaluate))))
}

main()
