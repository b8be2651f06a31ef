// Checks definitions of state machines with AWS's own language service. The arguments are files;
// prints what it finds.

const fs = require('fs')
const asl = require('amazon-states-language-service')
const { TextDocument } = require('vscode-languageserver-textdocument')

async function main() {
  const service = asl.getLanguageService({})
  for (const file of process.argv.slice(2)) {
    const document = TextDocument.create(`file://${file}`, 'asl', 1, fs.readFileSync(file, 'utf8'))
    const found = await service.doValidation(document, service.parseJSONDocument(document))
    for (const { range, message } of found) console.log(`${file}:${range.start.line + 1}: ${message}`)
  }
}

main()
