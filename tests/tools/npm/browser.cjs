// Starts browsers, and opens the page in them.

const puppeteer = require('puppeteer-core')

// What a machine under load may take. Nothing waits as long unless it fails.
const PATIENCE = { timeout: 60_000 }

// Starts `chromium` or `firefox`, of which this is the program. For Chromium, names of hosts stand
// for addresses.
function launch(kind, executablePath, hosts = {}) {
  if (kind === 'firefox') return puppeteer.launch({ browser: kind, executablePath })
  const rules = Object.entries(hosts).map(([name, address]) => `MAP ${name} ${address}`)
  // The sandbox of Chromium needs a user other than root, and CI has none.
  const args = ['--no-sandbox', `--host-resolver-rules=${rules}`,
    `--unsafely-treat-insecure-origin-as-secure=http://packages.example.com`]
  return puppeteer.launch({ executablePath, args })
}

// Opens the page on a directory, and waits until all is read, or a failure is told.
async function open(page, base, directory, parameters = {}) {
  const more = new URLSearchParams(parameters)
  await page.goto('about:blank')
  await page.goto(`${base}/index.html#/${directory}${`${more}` && `?${more}`}`)
  await ready(page)
}

async function ready(page) {
  await page.waitForSelector('main:not([aria-busy]) h1', PATIENCE)
}

module.exports = { PATIENCE, launch, open, ready }
