// The head of a page: where one can go, whether the page is connected, the time zone, the theme; and the tab's icon.

const WORDS = {
  green: "live: changes appear as they happen",
  amber: "the dashboards lost the scheduler: trying again",
  red: "disconnected: what you see may be old",
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
}

export function render({model}) {
  const head = document.createElement("div")
  head.className = "shell"
  const pages = [["overview", "Overview"], ["timeline", "Timeline"], ["schedule", "Schedule"], ["late", "Late"],
    ["history", "History"]]
  head.innerHTML = `
    <a class="brand" href="overview"><svg viewBox="0 0 32 32" width="26" height="26" aria-hidden="true">
      <circle cx="16" cy="16" r="12" fill="none" stroke="currentColor" stroke-width="3" opacity=".28"/>
      <path d="M16 4a12 12 0 0 1 11.3 8" fill="none" stroke="currentColor" stroke-width="3.6" stroke-linecap="round"/>
      <circle cx="16" cy="16" r="4" fill="currentColor"/></svg><span>apsis<b>_nb</b></span></a>
    <nav aria-label="Pages">${pages.map(([id, name]) =>
      `<a href="${id}"${id === model.page ? ' aria-current="page"' : ""}>${name}</a>`).join("")}</nav>
    <form class="jump" role="search"><input name="id" placeholder="Run id" aria-label="Open a run by its id"
      autocomplete="off" spellcheck="false" title="Type a run id, such as r123, and press Enter ( / )"></form>
    <div class="link" role="status" aria-live="polite"><span class="dot"></span><span class="word"></span></div>
    <button class="zone" title="Change between local time and UTC"></button>
    <button class="theme"></button>`
  const link = head.querySelector(".link"), word = head.querySelector(".link .word")
  const zone = head.querySelector(".zone"), theme = head.querySelector(".theme")

  head.querySelector("form").addEventListener("submit", (event) => {
    event.preventDefault()
    const said = event.target.elements.id.value.trim()
    if (said) { location.href = "run?id=" + encodeURIComponent(/^\d+$/.test(said) ? "r" + said : said) }
  })

  let answers = true, boot = null, lost = false
  const colour = () => (!answers || lost ? "red" : model.feed === "live" ? "green" : "amber")
  const state = () => {
    const now = colour()
    link.dataset.colour = now
    word.textContent = {green: "live", amber: "reconnecting", red: "disconnected"}[now]
    link.title = WORDS[now]
    icon()
  }
  let turn = 0
  const icon = () => {
    const dead = colour() === "red"
    const tint = dead ? "#8a8f98" : model.failed ? "#d6452b" : "#2f6df6"
    const turns = !dead && model.running > 0 && !matchMedia("(prefers-reduced-motion: reduce)").matches
    let el = document.querySelector('link[rel="icon"]')
    if (!el) { el = document.head.appendChild(document.createElement("link")); el.rel = "icon" }
    const key = `${tint}${turns ? turn : ""}`
    if (el.dataset.key !== key) {
      el.dataset.key = key
      el.href = ICON.draw(turns ? turn * Math.PI / 4 : null, tint)
    }
  }

  // The page asks the scheduler itself, so that it knows within seconds that nobody is there; a scheduler that was
  // started anew has another boot id, and then the page is loaded anew too.
  const beat = async () => {
    try {
      const answer = await fetch(model.alive || "static/js/bokeh.min.js", {
        method: model.alive ? "GET" : "HEAD", cache: "no-store", signal: AbortSignal.timeout(4000)})
      if (model.alive && answer.status === 401) {
        location.href = "../login?next=" + encodeURIComponent(location.pathname + location.search)
        return
      }
      answers = !model.alive || answer.ok
      if (model.alive && answer.ok) {
        const {boot_id} = await answer.json()
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
  const watch = () => {
    for (const doc of window.Bokeh?.documents ?? []) {
      doc.on_event?.("connection_lost", () => { lost = true; state() })
    }
  }

  const names = () => {
    zone.textContent = window.apsis.zoneName()
    zone.setAttribute("aria-label", `Times are in ${window.apsis.zoneName()}; change`)
  }
  zone.addEventListener("click", () => { window.apsis.zone = window.apsis.zone === "utc" ? "local" : "utc" })
  const painted = () => {
    const now = window.apsis.theme
    theme.innerHTML = `<svg viewBox="0 0 16 16" width="16" height="16" fill="currentColor" aria-hidden="true">${SYMBOLS[now]}</svg>`
    theme.title = {system: "Colours as the system has them", dark: "Dark", light: "Light"}[now] + ": click to change"
    theme.setAttribute("aria-label", theme.title)
    model.dark = window.apsis.dark()
  }
  theme.addEventListener("click", () => { window.apsis.theme = THEMES[window.apsis.theme] })
  window.apsis.events.addEventListener("theme", painted)
  window.apsis.events.addEventListener("zone", () => { names(); model.zone = window.apsis.zone })
  const hidden = () => { model.hidden = document.hidden }
  document.addEventListener("visibilitychange", hidden)
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && !event.composedPath()[0].matches?.("input, textarea, select")) {
      event.preventDefault()
      head.querySelector("input").focus()
    }
  })
  model.on(["feed", "running", "failed"], state)
  const timers = [setInterval(beat, 3000), setInterval(() => { turn = (turn + 1) % 8; if (!document.hidden) { icon() } }, 250)]
  model.on("remove", () => timers.forEach(clearInterval))
  setTimeout(watch, 500)
  names(); painted(); hidden(); state(); beat()
  model.zone = window.apsis.zone
  return head
}
