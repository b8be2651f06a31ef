// Takes the pictures of the documents. The arguments are the program of Chromium, a file with what
// is published, in JSON, and the directory for the pictures.

const fs = require('node:fs')
const { launch, open } = require('./browser.cjs')

const [program, published, directory] = process.argv.slice(2)
const { base, directories } = JSON.parse(fs.readFileSync(published, 'utf8'))
// The address that readers see.
const shown = 'http://packages.example.com'

// The name of the picture, its size, light or dark, what it shows, and whether with the lines.
const PICTURES = [
  ['page-list', 1000, 640, 'light', {}, true],
  ['page-package', 1000, 640, 'dark', { package: 'acme-agent' }],
  ['page-phone', 390, 640, 'light', { q: 'acme' }]
]

async function main() {
  const { host, pathname } = new URL(base)
  const browser = await launch('chromium', program, { 'packages.example.com:80': host })
  for (const [name, width, height, scheme, parameters, isSetup] of PICTURES) {
    const page = await browser.newPage()
    await page.setViewport({ width, height })
    await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: scheme }])
    await open(page, shown + pathname.replace(/\/$/, ''), directories.pictures, parameters)
    await page.evaluate(isOpen => {
      const details = document.querySelector('details')
      if (details) details.open = isOpen
      document.activeElement.blur()
    }, isSetup ?? false)
    await page.screenshot({ path: `${directory}/${name}.png` })
    await page.close()
  }
  await browser.close()
}

main()
