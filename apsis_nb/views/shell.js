// The head of a page: where one can go, whether the page is connected, the time zone, the theme; and the tab's icon.

const WORDS = {
  green: "live: changes appear as they happen",
  amber: "the dashboards lost the scheduler: trying again",
  red: "disconnected: what you see may be old",
}
// What a server that answers may not do: the word in the head, and what it means.
const MODES = {
  broken: ["starts nothing", "the scheduler starts nothing any more"],
  draining: ["stopping", "the scheduler starts nothing more, and ends when all runs have"],
  observing: ["observing", "the scheduler only observes: it starts no program"],
}
const ICON = {
  // A ring that turns while something runs; red after a failure; grey when disconnected.
  draw(turn, colour) {
    const canvas = document.createElement("canvas")
    canvas.width = canvas.height = 32
    const c = canvas.getContext("2d")
    c.lineWidth = 6; c.lineCap = "round"
    c.strokeStyle = colour; c.globalAlpha = turn === null ? 1 : .3
    c.beginPath(); c.arc(16, 16, 12, 0, 7); c.stroke()
    c.globalAlpha = 1
    if (turn !== null) { c.beginPath(); c.arc(16, 16, 12, turn, turn + 1.8); c.stroke() }
    c.fillStyle = colour
    c.beginPath(); c.arc(16, 16, 4, 0, 7); c.fill()
    return canvas.toDataURL("image/png")
  },
}
const THEMES = {system: "dark", dark: "light", light: "system"}
const SYMBOLS = {
  system: '<path d="M2 3h12v8.5H2zm1.4 1.4v5.7h9.2V4.4zM5 13h6v1.3H5z"/>',
  dark: '<path d="M10.6 1.6A6.6 6.6 0 1 0 14.4 11 5.6 5.6 0 0 1 10.6 1.6z"/>',
  light: '<path d="M8 4.5a3.5 3.5 0 1 0 0 7a3.5 3.5 0 1 0 0-7zM7.3 0h1.4v2.6H7.3zm0 13.4h1.4V16H7.3zM0 7.3h2.6v1.4H0zm13.4 0H16v1.4h-2.6z"/>',
  pages: '<path d="M2 3.5h12V5H2zm0 3.8h12v1.4H2zM2 11h12v1.5H2z"/>',
  more: '<path d="M8 2.2a1.3 1.3 0 1 1 0 2.6a1.3 1.3 0 0 1 0-2.6zm0 4.5a1.3 1.3 0 1 1 0 2.6a1.3 1.3 0 0 1 0-2.6zm0 4.5a1.3 1.3 0 1 1 0 2.6a1.3 1.3 0 0 1 0-2.6z"/>',
  search: '<path fill-rule="evenodd" d="M7 1.5a5.5 5.5 0 0 1 4.3 8.9l3.2 3.2-1 1-3.2-3.2A5.5 5.5 0 1 1 7 1.5zm0 1.5a4 4 0 1 0 0 8a4 4 0 0 0 0-8z"/>',
  run: '<path d="M7.2 2h1.6v5.2H14v1.6H8.8V14H7.2V8.8H2V7.2h5.2z"/>',
}
const symbol = (name) =>
  `<svg viewBox="0 0 16 16" width="16" height="16" fill="currentColor" aria-hidden="true">${SYMBOLS[name]}</svg>`
const html = (text) => String(text).replace(/[&<>"]/g, c => ({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;"})[c])

// What the libraries draw has no name for whoever does not see it: plots, which are tab stops.
const PLOT = "A plot. What it shows is also told in a table."
function nameParts(root) {
  for (const el of root.querySelectorAll("*")) {
    if (el.shadowRoot) { nameParts(el.shadowRoot) }
    if (el.classList.contains("bk-events") && !el.hasAttribute("aria-label")) {
      el.setAttribute("role", "group")
      el.setAttribute("aria-label", PLOT)
    }
  }
}

export function render({model}) {
  const head = document.createElement("div")
  head.className = "shell"
  const here = model.page === "job" ? "jobs" : model.page
  const links = model.pages.map(([id, name]) =>
    `<a href="${id}"${id === here ? ' aria-current="page"' : ""}>${html(name)}</a>`).join("")
  const others = {job: "Job", run: "Run", adhoc: "New run"}
  const name = others[model.page] ?? model.pages.find(([id]) => id === model.page)?.[1] ?? ""
  const own = model.alive !== ""  // whether the server's other pages are at this address
  head.innerHTML = `
    <button class="pages" popovertarget="pages" aria-label="Pages" title="Pages">${symbol("pages")}</button>
    <div class="menu" id="pages" popover><nav aria-label="All pages">${links}</nav></div>
    <a class="brand" href="overview" aria-label="apsis_nb"><svg viewBox="0 0 32 32" width="26" height="26" aria-hidden="true">
      <circle cx="16" cy="16" r="12" fill="none" stroke="currentColor" stroke-width="3" opacity=".28"/>
      <path d="M16 4a12 12 0 0 1 11.3 8" fill="none" stroke="currentColor" stroke-width="3.6" stroke-linecap="round"/>
      <circle cx="16" cy="16" r="4" fill="currentColor"/></svg><span>apsis<b>_nb</b></span></a>
    <span class="here">${html(name)}</span>
    <nav class="wide" aria-label="Pages">${links}</nav>
    <button class="search" title="Find a job, a run or a label ( / )" aria-label="Search">${symbol("search")}<span
      class="word">Search</span><kbd>/</kbd></button>
    <button class="new" title="Run a job or a command ( n )" aria-label="New run">${symbol("run")}<span
      class="word">New run</span></button>
    <div class="link" role="status" aria-live="polite"><span class="dot"></span><span class="word"></span></div>
    <button class="zone"></button>
    <button class="theme"></button>
    <button class="more" popovertarget="more" aria-label="More" title="More">${symbol("more")}</button>
    <div class="menu" id="more" popover>
      <button class="other-zone"></button><button class="notify"></button><button class="help">Keyboard shortcuts<kbd>?</kbd></button>
      ${own ? `<a href="../status">Page for phones</a><a href="../docs">API reference</a>
      <form method="post" action="../logout"><button class="leave">Log out</button></form>` : ""}</div>
    <p class="cut-off" role="alert" hidden></p>`
  const link = head.querySelector(".link"), word = head.querySelector(".link .word")
  const zone = head.querySelector(".zone"), theme = head.querySelector(".theme")
  const tell = (name, detail) => window.apsis.events.dispatchEvent(new CustomEvent(name, {detail}))
  head.querySelector(".search").addEventListener("click", () => tell("search"))
  head.querySelector(".new").addEventListener("click", () => tell("adhoc", {}))
  head.querySelector(".help").addEventListener("click", () => { head.querySelector("#more").hidePopover(); tell("help") })

  let failedUntil = 0
  let answers = true, boot = null, lost = false, since = null, wasLive = false
  let mode = null, why = ""  // of `MODES`; and why it is broken
  const cutOff = head.querySelector(".cut-off")
  const colour = () => (!answers || lost ? "red" : model.feed === "live" ? "green" : "amber")
  const state = () => {
    const now = colour()
    const [name, means] = MODES[mode] ?? ["live", WORDS.green]
    link.dataset.colour = now === "green" && mode ? "amber" : now
    wasLive ||= now === "green"
    word.textContent = {green: name, amber: wasLive ? "reconnecting" : "connecting", red: "disconnected"}[now]
    link.title = now === "green" ? means : WORDS[now]
    const isCut = now === "red", isBroken = now === "green" && mode === "broken"
    if (isBroken) { cutOff.textContent = `${means[0].toUpperCase()}${means.slice(1)}: ${why}.` }
    window.apsis.isCut = isCut
    if (isCut && since === null) {
      since = new Date().toISOString()
      cutOff.innerHTML = `No connection since <time datetime="${since}" data-show="time"></time>: the page shows how it was then. It
        goes on by itself once somebody answers.<b hidden> Until then nothing can be done.</b>`
      window.apsis.write(cutOff)
    }
    if (!isCut) { since = null }
    cutOff.hidden = !isCut && !isBroken
    icon()
  }
  window.apsis.events.addEventListener("refused", () => cutOff.querySelector("b")?.removeAttribute("hidden"))
  // Of several icons a browser takes the last one: it is the one that is drawn here.
  const [...icons] = document.querySelectorAll('link[rel~="icon"]')
  icons.slice(1).forEach(el => el.remove())
  let turn = 0
  const icon = () => {
    const dead = colour() === "red"
    const tint = dead ? "#8a8f98" : model.failed || Date.now() < failedUntil ? "#d6452b" : "#2f6df6"
    const turns = !dead && model.running > 0 && !matchMedia("(prefers-reduced-motion: reduce)").matches
    let el = document.querySelector('link[rel="icon"]')
    if (!el) { el = document.head.appendChild(document.createElement("link")); el.rel = "icon" }
    const key = `${tint}${turns ? turn : ""}`
    if (el.dataset.key !== key) {
      el.dataset.key = key
      el.href = ICON.draw(turns ? turn * Math.PI / 4 : null, tint)
    }
  }

  // Failures: the tab counts those of while nobody saw it, and the browser tells them to whoever wants it.
  const notify = head.querySelector(".notify")
  const canNotify = "Notification" in window && window.isSecureContext
  const wantsNotes = () => canNotify && Notification.permission === "granted" && window.apsis.keeps("notify") === "yes"
  const offer = () => {
    notify.hidden = !canNotify
    notify.setAttribute("aria-pressed", String(wantsNotes()))
    const isDenied = canNotify && Notification.permission === "denied"
    notify.disabled = isDenied
    notify.textContent = isDenied ? "Notifications: the browser forbids them"
      : wantsNotes() ? "Failures are notified: stop it" : "Notify me of failures"
  }
  notify.addEventListener("click", async () => {
    const wanted = !wantsNotes()
    if (wanted && Notification.permission !== "granted") { await Notification.requestPermission() }
    window.apsis.keep("notify", wanted ? "yes" : "no")
    offer()
  })
  let unseen = 0, title = null
  const badge = () => {
    title ??= document.title
    document.title = unseen ? `(${unseen}) ${title}` : title
  }
  const failure = () => {
    const {count, run_id, job_id, state, message} = model.failure
    if (!count) { return }
    failedUntil = Date.now() + 600_000
    if (document.hidden) { unseen += count; badge() }
    if (wantsNotes()) {
      const others = count > 1 ? `, and ${count - 1} more` : ""
      // Of several open pages each tells it, and the browser shows what has the same tag once.
      const note = new Notification(`${job_id}: ${state}${others}`, {body: message, tag: run_id, icon: ICON.draw(null, "#d6452b")})
      note.onclick = () => { window.focus(); location.href = `run?id=${run_id}` }
    }
    icon()
  }

  // The page asks the scheduler itself, so that it knows within seconds that nobody is there; a scheduler that was
  // started anew has another boot id, and then the page is loaded anew too.
  const beat = async () => {
    try {
      const answer = await fetch(model.alive || "static/js/bokeh.min.js", {
        method: model.alive ? "GET" : "HEAD", cache: "no-store", signal: AbortSignal.timeout(4000)})
      if (model.alive && answer.status === 401) {
        const page = location.pathname.split("/").slice(-2).join("/")  // what is before it only proxies know
        location.href = "../login?next=" + encodeURIComponent("/" + page + location.search)
        return
      }
      answers = !model.alive || answer.ok
      if (model.alive && answer.ok) {
        const {boot_id, ...how} = await answer.json()
        mode = Object.keys(MODES).find(name => how[name]) ?? null
        why = how.broken
        if (boot !== null && boot_id && boot_id !== boot) { location.reload(); return }
        boot = boot_id ?? boot
      }
      if (lost && answers) { location.reload(); return }
    } catch {
      answers = false
    }
    state()
  }
  // Bokeh does not open its connection again once it is gone: wait until somebody answers, then load the page anew.
  // From the first moment: what is lost before somebody listens is never told.
  const watched = new WeakSet()
  const watch = () => {
    for (const doc of window.Bokeh?.documents ?? []) {
      if (!watched.has(doc)) { watched.add(doc); doc.on_event?.("connection_lost", () => { lost = true; state() }) }
    }
  }

  const other = head.querySelector(".other-zone")
  const names = () => {
    window.apsis.own = model.own_zone
    const name = window.apsis.zoneName(), next = window.apsis.nextZone()
    const words = `Times in ${next === "own" ? "the job's own zone, " : ""}${window.apsis.zoneName(next)}`
    zone.textContent = name
    zone.title = `Times are in ${name}; change to: ${words}`
    zone.setAttribute("aria-label", zone.title)
    other.textContent = words
  }
  for (const button of [zone, other]) {
    button.addEventListener("click", () => { window.apsis.zone = window.apsis.nextZone() })
  }
  const painted = () => {
    const now = window.apsis.theme
    theme.innerHTML = symbol(now)
    theme.title = {system: "Colours as the system has them", dark: "Dark", light: "Light"}[now] + ": click to change"
    theme.setAttribute("aria-label", theme.title)
    model.dark = window.apsis.dark()
  }
  theme.addEventListener("click", () => { window.apsis.theme = THEMES[window.apsis.theme] })
  window.apsis.events.addEventListener("theme", painted)
  window.apsis.events.addEventListener("zone", () => { names(); model.zone = window.apsis.zoneSaid })
  const hidden = () => {
    model.hidden = document.hidden
    if (!document.hidden && unseen) { unseen = 0; badge() }
  }
  document.addEventListener("visibilitychange", hidden)
  model.on(["feed", "running", "failed"], state)
  model.on("own_zone", names)
  model.on("failure", failure)
  const seen = (work) => () => { if (!document.hidden) { work() } }
  const timers = [
    setInterval(beat, 3000),
    setInterval(seen(() => nameParts(document)), 3000),
    setInterval(() => { turn = (turn + 1) % 8; seen(icon)() }, 250),
  ]
  model.on("remove", () => timers.forEach(clearInterval))
  watch()
  setTimeout(() => { watch(); nameParts(document) }, 500)
  names(); painted(); hidden(); state(); beat(); offer()
  model.zone = window.apsis.zoneSaid
  return head
}
