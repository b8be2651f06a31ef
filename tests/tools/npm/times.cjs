// Measures how long the page takes to list what is published. The arguments are `chromium` or
// `firefox`, where that is, a file with what is published, in JSON, and the number of rounds.
// Prints medians, in milliseconds since the page was opened.

const fs = require('node:fs')
const { launch, open } = require('./browser.cjs')

const [kind, program, published, rounds] = process.argv.slice(2)
const { base, directories } = JSON.parse(fs.readFileSync(published, 'utf8'))

const median = values => values.sort((a, b) => a - b)[Math.floor(values.length / 2)]

async function main() {
  const taken = {}
  for (let round = 0; round < Number(rounds); round++) {
    for (const [packages, directory] of [['5,000', directories.some], ['30,000', directories.many]]) {
      // A new browser has nothing in its cache, and nothing compiled.
      const browser = await launch(kind, program)
      const page = await browser.newPage()
      await open(page, base, directory)
      const marks = await page.evaluate(() =>
        performance.getEntriesByType('mark').map(({ name, startTime }) => [name, startTime]))
      // The first of each name: more rows may follow.
      const first = Object.fromEntries(marks.reverse())
      if (kind === 'chromium') first.heap = (await page.metrics()).JSHeapUsedSize / 2 ** 20
      for (const [name, value] of Object.entries(first)) ((taken[packages] ??= {})[name] ??= []).push(value)
      await browser.close()
    }
  }
  const right = (text, width) => `${text}`.padStart(width)
  for (const [packages, { rows, listed, complete, heap }] of Object.entries(taken)) {
    const times = [rows, listed, complete].map(values => right(`${Math.round(median(values))} ms`, 11))
    const memory = heap ? `${Math.round(median(heap))} MiB` : ''
    console.log([kind.padEnd(9), right(packages, 9), ...times, right(memory, 9)].join('').trimEnd())
  }
}

main()
