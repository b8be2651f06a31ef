// Checks the page in a real browser. The arguments are `chromium` or `firefox`, where that is, and
// a file with what is published, in JSON. Each check opens the page anew.

const assert = require('node:assert/strict')
const fs = require('node:fs')
const { test, before, after } = require('node:test')
const { PATIENCE, launch, open: openAt, ready } = require('./browser.cjs')

const [kind, executablePath, published] = process.argv.slice(2)
// The bucket's URL, and the same by another name of this machine; the names of keys; directories by
// what is in them; the size of a package; and the lines that `alpinist setup` prints.
const { base, other, keys, directories, hello, setup } = JSON.parse(fs.readFileSync(published, 'utf8'))
const isChromium = kind === 'chromium'
// The rules of WCAG 2.2 AA, and what axe calls good practice.
const RULES = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']
const AXE = fs.readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8')
const DESK = { width: 1200, height: 900 }
const PHONE = { width: 360, height: 740 }

let browser
before(async () => {
  // It is this machine, too, but unlike 127.0.0.1 none that a browser trusts without https.
  browser = await launch(kind, executablePath, { [new URL(other).hostname]: '127.0.0.1' })
})
after(() => browser?.close())

// A new tab without a page, which notes requests and errors.
async function tab(viewport = DESK, scheme = 'light') {
  const context = await browser.createBrowserContext()
  const page = await context.newPage()
  await page.setViewport(viewport)
  if (isChromium) await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value: scheme }])
  const [requests, errors] = [[], []]
  page.on('request', request => requests.push(request.url()))
  page.on('pageerror', error => errors.push(error.message))
  const end = () => context.close()
  return { page, requests, errors, end }
}

// Opens the page on a directory, by its name in `directories`.
function open(page, directory, { from = base, ...parameters } = {}) {
  return openAt(page, from, directories[directory] ?? directory, parameters)
}

const text = (page, selector) => page.$eval(selector, node => node.innerText.replace(/\s+/g, ' ').trim())
const texts = (page, selector) => page.$$eval(selector, nodes => nodes.map(node => node.textContent.trim()))
const focused = page => page.evaluate(() => document.activeElement.textContent || document.activeElement.id)
const until = (page, condition, ...args) => page.waitForFunction(condition, PATIENCE, ...args)
const waitForCount = (page, count) =>
  until(page, count => document.getElementById('count').textContent === count, count)

// A check with a tab of its own, in which no script may fail, and which asks nobody but the bucket.
function check(name, run, viewport) {
  test(name, async () => {
    const opened = await tab(viewport)
    try {
      await run(opened.page, opened)
      assert.deepEqual(opened.errors, [])
      const isOurs = url => url.startsWith(base) || url.startsWith(other) || /^(data|about):/.test(url)
      assert.deepEqual(opened.requests.filter(url => !isOurs(url)), [])
    } finally {
      await opened.end()
    }
  })
}

check('what was uploaded is shown without a further write', async page => {
  await page.goto(`${base}/index.html`)
  await ready(page)
  assert.deepEqual(await texts(page, '#place option'), [directories.uploaded, directories.both])
  assert.equal(await text(page, 'h1'), directories.uploaded)
  assert.equal(await text(page, '#count'), '2 packages, 3 versions')
  assert.equal(await text(page, '#signatures'), `The signature by ${keys.stack} is right.`)
  assert.match(await text(page, '#published'), /^Published /)
  assert.equal(await page.title(), `${directories.uploaded} – packages`)
  assert.deepEqual(await texts(page, 'tbody a'), ['greeter', 'hello'])
  assert.deepEqual(await texts(page, 'tbody td:nth-child(2)'), ['1.0-r0', '1.10-r0 and 1 older'])
  await page.select('#place', directories.both)
  await waitForCount(page, '3 packages')
  assert.equal(await text(page, 'h1'), directories.both)
})

check('a package shows its versions, what it needs, and what needs it', async page => {
  await open(page, 'uploaded', { package: 'hello' })
  await until(page, () => document.body.innerText.includes('Needed by (1)'))
  assert.equal(await focused(page), 'hello')
  assert.deepEqual(await texts(page, 'tbody td:first-child'), ['1.10-r0', '1.9-r0'])
  const link = await page.$eval('tbody a', node => node.href)
  assert.equal(link, `${base}/${directories.uploaded}/hello-1.10-r0.apk`)
  const length = await page.evaluate(async url => (await (await fetch(url)).arrayBuffer()).byteLength, link)
  assert.equal(length, hello)
  assert.match(await text(page, 'main pre'), /^apk add hello$/)
  await page.evaluate(() => [...document.querySelectorAll('main a')].find(a => a.textContent === 'greeter').click())
  await until(page, () => document.querySelector('h1').textContent === 'greeter')
  await page.evaluate(() => [...document.querySelectorAll('main a')].find(a => a.textContent === 'hello>=1.0').click())
  await until(page, () => document.querySelector('h1').textContent === 'hello')
  await page.goBack()
  await until(page, () => document.querySelector('h1').textContent === 'greeter')
})

check('of many that need a package, the first are shown', async page => {
  await open(page, 'many', { package: 'many-000000' })
  await until(page, () => document.body.innerText.includes('Needed by (29,999)'))
  assert.deepEqual((await texts(page, 'li')).filter(item => /^and/.test(item)), ['and 29,499 more'])
})

check('the lines to type are those of `alpinist setup`', async page => {
  await open(page, 'both')
  await page.click('summary')
  const lines = (await texts(page, 'details pre')).flatMap(block => block.split('\n'))
  assert.deepEqual([...new Set(lines)].sort(), [...new Set(setup)].sort())
})

check('names, commands, descriptions and origins are found as one types', async page => {
  await open(page, 'many')
  await waitForCount(page, '30,000 packages')
  const find = async (query, count, first) => {
    await page.$eval('#query', node => { node.value = '' })
    await page.type('#query', query)
    await waitForCount(page, `${count} of 30,000 packages`)
    if (first) assert.equal((await texts(page, 'tbody a'))[0], first)
  }
  await find('many-01234', '10', 'many-012340')
  await find('cmd:many-29999', '1', 'many-029999')
  await find('from-7-of', '100')
  await find('NUMBER 12345', '1', 'many-012345')
  await find('no such thing', '0')
  assert.equal(await text(page, 'main > p'), 'Nothing matches “no such thing”.')
  assert.ok((await page.url()).endsWith('?q=no+such+thing'))
  await open(page, 'many', { q: 'many-000001' })
  assert.equal(await page.$eval('#query', node => node.value), 'many-000001')
  assert.equal(await text(page, '#count'), '1 of 30,000 packages')
})

check('the list is sorted, and shows more', async page => {
  await open(page, 'many')
  assert.equal((await texts(page, 'tbody a')).length, 100)
  await page.evaluate(() => [...document.querySelectorAll('main button')].at(-1).click())
  assert.equal((await texts(page, 'tbody a')).length, 600)
  assert.equal(await focused(page), 'many-000100')
  const sort = column => page.click(`th[data-key=${column}] button`)
  const sorted = column => page.$eval(`th[data-key=${column}]`, node => node.getAttribute('aria-sort'))
  await sort('built')
  assert.equal(await sorted('built'), 'descending')
  assert.equal((await texts(page, 'tbody a'))[0], 'many-029999')
  await sort('built')
  assert.equal(await sorted('built'), 'ascending')
  assert.equal((await texts(page, 'tbody a'))[0], 'many-000000')
  await sort('name')
  assert.equal(await sorted('name'), 'ascending')
})

check('everything can be done with the keyboard', async page => {
  await open(page, 'uploaded')
  const press = async (...pressed) => { for (const key of pressed) await page.keyboard.press(key) }
  await page.focus('body')
  await press('Tab')
  assert.equal(await focused(page), 'Skip to the packages')
  await press('Enter')
  assert.equal(await page.evaluate(() => document.activeElement.id), 'content')
  await press('Tab')
  assert.equal(await focused(page), 'Use this repository')
  await press('Enter')
  assert.equal(await page.$eval('details', node => node.open), true)
  const reached = []
  for (let step = 0; step < 12; step++) {
    await press('Tab')
    reached.push(await focused(page))
  }
  for (const name of ['Package', 'Size', 'Built', 'greeter', 'hello']) {
    assert.ok(reached.includes(name), `${name}: ${reached}`)
  }
  await press('/')
  assert.equal(await page.evaluate(() => document.activeElement.id), 'query')
  await page.keyboard.type('hel')
  await waitForCount(page, '1 of 2 packages')
  await press('Enter')
  await until(page, () => document.activeElement.tagName === 'H1')
  assert.equal(await focused(page), 'hello')
  await page.goBack()
  await until(page, () => document.activeElement.tagName === 'A')
  assert.equal(await focused(page), 'hello')
  assert.equal(await page.$eval('#query', node => node.value), 'hel')
})

check('nothing scrolls sideways on a phone', async page => {
  for (const [directory, parameters] of [['uploaded', {}], ['both', { package: 'both' }], ['hostile', {}],
    ['hostile', { package: 'x'.repeat(128) }], ['none/x86_64', {}]]) {
    await open(page, directory, parameters)
    await page.evaluate(() => document.querySelector('summary')?.click())
    const [content, window] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth])
    assert.ok(content <= window, `${directory}: ${content} > ${window}`)
  }
  await open(page, 'uploaded')
  assert.equal(await page.$eval('tbody .below', node => getComputedStyle(node).display), 'block')
}, PHONE)

check('what stands in a hostile index stays text', async (page, { requests }) => {
  const safe = async () => {
    assert.equal(await page.evaluate(() => typeof window.pwned), 'undefined')
    assert.equal(await page.$('main :is(img, svg, script, b, iframe)'), null)
    const links = await page.$$eval('main a', nodes => nodes.map(node => node.href))
    const isSafe = link => link.startsWith(base) || link.startsWith('https://example.com/')
    assert.deepEqual(links.filter(link => !isSafe(link)), [])
    for (const line of await texts(page, 'pre')) assert.doesNotMatch(line, /[;$`|<'"\\]/)
  }
  await open(page, 'hostile')
  assert.equal(await text(page, '#count'), '7 packages')
  await page.evaluate(() => document.querySelector('summary')?.click())
  await safe()
  for (const name of await texts(page, 'tbody a')) {
    await open(page, 'hostile', { package: name })
    assert.equal(await text(page, 'h1'), name)
    await safe()
  }
  const before = requests.length
  const places = ['//evil.example/x86_64', 'https://evil.example/x86_64', '../../x/x86_64', '$(id)/x86_64']
  for (const place of [...places, '__proto__']) {
    await open(page, place)
    assert.match(await text(page, '[role=alert]'), /is no directory of a repository\. Choose another one\.$/)
  }
  const isOther = url => url.startsWith('http') && !/\/(index\.html.*|repositories\.json)$/.test(url)
  assert.deepEqual(requests.slice(before).filter(isOther), [])
})

check('the policy blocks scripts and markup', async page => {
  await open(page, 'uploaded')
  const said = await page.evaluate(() => {
    const tried = act => { try { act(); return 'done' } catch (error) { return error.name } }
    const script = document.createElement('script')
    const inline = tried(() => { script.text = 'window.pwned = 1'; document.body.append(script) })
    return [inline, tried(() => { document.body.innerHTML = '<b>x' }), typeof window.pwned]
  })
  assert.equal(said[2], 'undefined')
  assert.equal(said[1], 'TypeError')
})

check('a changed index and one of a wrong key are told, and not recommended', async page => {
  for (const directory of ['changed', 'impostor']) {
    await open(page, directory)
    assert.match(await text(page, '#signatures'), /^The signature by \S+ is wrong: do not trust this list\./)
    assert.equal(await page.$('summary'), null)
  }
  await open(page, 'unknownKey')
  assert.match(await text(page, '#signatures'), /^Signed by \S+; not checked here, since that key is not published\.$/)
})

check('each of two keys is checked', async page => {
  await open(page, 'twoKeys')
  assert.equal(await text(page, '#signatures'),
    `The signature by ${keys.other} is right. The signature by ${keys.stack} is right.`)
})

check('format v3 is read, signed with RSA or EC', async page => {
  await open(page, 'v3')
  assert.equal(await text(page, '#count'), '2 packages, 3 versions')
  const right = [keys.stack, keys.p256, keys.p384].map(key => `The signature by ${key} is right.`)
  assert.equal(await text(page, '#signatures'), right.join(' '))
  await open(page, 'v3', { package: 'alone' })
  const said = await text(page, 'main')
  for (const part of ['Format v3: for apk 3 alone', 'Versions (2)', 'Depends on', '!conflict', 'needed>=1.0']) {
    assert.ok(said.includes(part), `${part}: ${said}`)
  }
  assert.equal((await texts(page, 'tbody td:first-child'))[0], '2.0-r0')
  await open(page, 'v3Short')
  assert.equal(await text(page, '#signatures'), `The signature by ${keys.p256} is right.`)
  await open(page, 'v3Changed')
  assert.match(await text(page, '#signatures'), /is wrong: do not trust this list/)
})

check('packages of both formats are one list', async page => {
  await open(page, 'both')
  assert.deepEqual(await texts(page, 'tbody a'), ['both', 'only-v2', 'only-v3'])
  assert.equal(await text(page, '#count'), '3 packages')
})

check('each failure is told', async page => {
  const expected = {
    'none/x86_64': /^There is no index in none\/x86_64\. Choose another repository/,
    garbage: /garbage\S* is not a signed index\. Clients reject it, too; `alpinist verify` says how to fix it\.$/,
    cut: /cut\S* is cut off or damaged\./,
    v3Garbage: /v3-garbage\S* is cut off or damaged\.|is no index of format v3\.$/,
    v3Zstd: /v3-zstd\S* is compressed in a way that no browser reads\.$/
  }
  for (const [directory, pattern] of Object.entries(expected)) {
    await open(page, directory)
    assert.match(await text(page, '[role=alert]'), pattern)
  }
  await open(page, 'halfDamaged')
  assert.equal(await text(page, '#count'), '3 packages')
  assert.match(await text(page, '#signatures'), /is right\. half-damaged\S*Packages\.adb is no index of format v3\.$/)
  await open(page, 'empty')
  assert.equal(await text(page, '#count'), '0 packages')
  assert.equal(await text(page, 'main > p'), 'This index lists no packages.')
  await open(page, 'uploaded', { package: 'nothing' })
  assert.match(await text(page, 'main'), /There is no package nothing in /)
})

check('a server that fails or is gone is told, and can be tried again', async page => {
  let fate = 'fails'
  await page.setRequestInterception(true)
  page.on('request', request => {
    if (!request.url().endsWith('/APKINDEX.tar.gz') || fate === 'works') return request.continue()
    return fate === 'fails' ? request.respond({ status: 500, body: '' }) : request.abort()
  })
  const path = `${directories.uploaded}/APKINDEX.tar.gz`
  await open(page, 'uploaded')
  assert.equal(await text(page, '[role=alert]'), `${path} can't be loaded: the server answers 500.`)
  fate = 'is gone'
  await open(page, 'uploaded')
  assert.equal(await text(page, '[role=alert]'), `${path} can't be loaded. Check the connection, and try again.`)
  fate = 'works'
  await page.click('main button')
  await waitForCount(page, '2 packages, 3 versions')
})

check('a list that is missing or damaged is told', async page => {
  let body = 'no JSON'
  await page.setRequestInterception(true)
  page.on('request', request => {
    if (!request.url().endsWith('/repositories.json')) return request.continue()
    return body === null ? request.respond({ status: 404 }) : request.respond({ status: 200, body })
  })
  const told = async expected => {
    await page.goto('about:blank')
    await page.goto(`${base}/index.html`)
    await ready(page)
    assert.match(await text(page, '[role=alert]'), expected)
  }
  await told(/^repositories\.json is damaged, which names the repositories\. `alpinist page put`/)
  body = null
  await told(/^repositories\.json is missing, which names the repositories\. `alpinist page put`/)
  body = '{"directories":[],"keys":[]}'
  await told(/^Nothing is published yet\./)
  body = '{"directories":["../x","<b>"],"keys":["$(id).pub"]}'
  await told(/^Nothing is published yet\./)
  body = null
  await open(page, 'uploaded')
  assert.equal(await text(page, '#count'), '2 packages, 3 versions')
})

test('axe finds nothing', async () => {
  for (const scheme of isChromium ? ['light', 'dark'] : ['light']) {
    for (const viewport of [DESK, PHONE]) {
      const { page, end } = await tab(viewport, scheme)
      for (const [directory, parameters] of [['uploaded', {}], ['uploaded', { package: 'hello' }],
        ['many', { q: 'many-01' }], ['both', { package: 'only-v3' }], ['changed', {}], ['cut', {}]]) {
        await open(page, directory, parameters)
        await page.evaluate(() => document.querySelector('summary')?.click())
        await page.evaluate(AXE)
        const found = await page.evaluate(async rules => {
          const { violations } = await axe.run(document, { runOnly: rules })
          return violations.map(({ id, help, nodes }) => `${id}: ${help}: ${nodes[0].html}`)
        }, RULES)
        assert.deepEqual(found, [], `${scheme} ${viewport.width} ${directory}`)
      }
      await end()
    }
  }
})

if (isChromium) {
  check('without https nothing is claimed', async page => {
    await open(page, 'uploaded', { from: other })
    const said = `Signed by ${keys.stack}; not checked here, since this page came without https.`
    assert.equal(await text(page, '#signatures'), said)
  })

  check('without JavaScript it says what to do', async page => {
    await page.setJavaScriptEnabled(false)
    await page.goto(`${base}/index.html`)
    const said = await page.$eval('main', node => node.textContent.replace(/\s+/g, ' '))
    assert.match(said, /Without it, use apk search\./)
  })
}
