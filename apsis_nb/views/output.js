// The outputs of a run: a log grows at its end, is kept at its end while one follows, shows any other part of it on
// demand, and is searched; everything else is a preview, made by the server.

const MOST_CHARS = 1.5e6  // of HTML; beyond it the first pieces are let go while one follows
const MOST_MARKS = 2000  // places of the words that are looked for that are marked at once
const CAN_MARK = "highlights" in CSS

export function render({model}) {
  const root = document.createElement("section")
  root.className = "card output"
  root.innerHTML = `<header><h2>Output</h2><span class="names group" role="group" aria-label="Outputs"></span>
    <span class="muted size num"></span>
    <div class="more bar"><span class="of-log bar"><form class="find" role="search">
      <input type="search" placeholder="Search" aria-label="Search in the whole output" size="14" spellcheck="false">
      <span class="group"><button value="previous" type="button" title="Previous line (Shift+Enter)" aria-label="Previous line">&uarr;</button><button
        value="next" type="button" title="Next line (Enter)" aria-label="Next line">&darr;</button></span></form>
      <button class="first-error" title="Go to the first line that looks like an error">First error</button>
      <label class="check"><input type="checkbox" class="follow" checked>follow</label>
      <label class="check"><input type="checkbox" class="wrap">wrap</label></span>
    <a class="download" download>download</a></div></header>
    <p class="found muted" role="status" hidden></p>
    <div class="pane mono" role="log" aria-label="Output of the run" tabindex="0">
      <button class="earlier" hidden>Show what comes before</button>
      <div class="blocks"></div><div class="tail"></div><p class="nothing"></p>
      <button class="later" hidden>Show what comes after</button></div>
    <div class="preview" hidden></div>`
  const find = (selector) => root.querySelector(selector)
  const pane = find(".pane"), blocks = find(".blocks"), tail = find(".tail"), follow = find(".follow")
  const field = find(".find input"), preview = find(".preview")
  let chars = 0, pending = false
  let end = null  // where the part ends that is shown, if that is not the end of the output
  let top = 0  // where the pane was left; what differs is the reader's doing
  let typing, asked = ""  // the words that were looked for last

  const toEnd = () => { if (follow.checked) { pane.scrollTop = pane.scrollHeight } }
  const toHit = () => {
    const hit = pane.querySelector("mark.hit")  // the page itself stays where it is
    if (hit) { pane.scrollTop += hit.getBoundingClientRect().top - pane.getBoundingClientRect().top - pane.clientHeight / 2 }
  }
  const block = (html, begin) => {
    const el = document.createElement("div")
    el.className = "block"
    el.innerHTML = html
    el.dataset.begin = begin
    el.dataset.chars = html.length
    chars += html.length
    return el
  }
  const clear = () => { blocks.replaceChildren(); tail.innerHTML = ""; chars = 0 }
  const trim = () => {
    while (chars > MOST_CHARS && blocks.childElementCount > 1) {
      chars -= Number(blocks.firstElementChild.dataset.chars)
      blocks.firstElementChild.remove()
    }
  }
  const edges = () => {
    const first = blocks.firstElementChild
    find(".earlier").hidden = !first || Number(first.dataset.begin) === 0
    find(".later").hidden = end === null
    find(".nothing").textContent = first || tail.textContent ? "" : model.words
    pane.classList.toggle("empty", !first && !tail.textContent)
    mark()
  }
  // The words that are looked for are marked in what is shown, without changing it.
  const mark = () => {
    if (!CAN_MARK) { return }
    const words = field.value.toLowerCase(), ranges = []
    if (words) {
      const walk = document.createTreeWalker(pane, NodeFilter.SHOW_TEXT)
      while (walk.nextNode() && ranges.length < MOST_MARKS) {
        const said = walk.currentNode.data.toLowerCase()
        for (let at = said.indexOf(words); at >= 0 && ranges.length < MOST_MARKS; at = said.indexOf(words, at + words.length)) {
          if (said.length !== walk.currentNode.length) { break }
          const range = new Range()
          range.setStart(walk.currentNode, at)
          range.setEnd(walk.currentNode, at + words.length)
          ranges.push(range)
        }
      }
    }
    CSS.highlights.set("apsis-found", new Highlight(...ranges))
  }
  const size = () => {
    const n = model.size
    find(".size").textContent = n < 1000 ? (n ? `${n} B` : "") : n < 1e6 ? `${(n / 1e3).toFixed(1)} kB`
      : n < 1e9 ? `${(n / 1e6).toFixed(1)} MB` : `${(n / 1e9).toFixed(2)} GB`
    find(".download").href = model.download
    find(".download").hidden = !model.download || !n
  }
  const names = () => {
    find(".names").replaceChildren(...(model.names.length < 2 ? [] : model.names.map(({name, title}) => {
      const button = document.createElement("button")
      button.textContent = title
      button.title = name
      button.setAttribute("aria-pressed", String(name === model.name_shown))
      button.onclick = () => { field.value = asked = ""; model.send_msg({action: "name", value: name}) }
      return button
    })))
    const kind = model.names.find(({name}) => name === model.name_shown)?.kind ?? "log"
    pane.hidden = find(".of-log").hidden = kind !== "log"
    preview.hidden = kind === "log"
  }
  const found = () => {
    find(".found").textContent = model.found
    find(".found").hidden = !model.found
  }
  if (innerWidth < 720) {  // of a phone: there is no room to the right
    find(".wrap").checked = true
    pane.classList.add("wrapped")
  }
  const paint = () => pane.classList.toggle("dark", window.apsis.dark())

  model.on("msg:custom", (message) => {
    pending = false
    const height = pane.scrollHeight
    let scroll = () => {}  // once all else is in its place
    switch (message.op) {
      case "reset":
        clear()
        end = null
        follow.checked = true
        break
      case "earlier":
        follow.checked = false
        if (message.html) { blocks.prepend(block(message.html, message.begin)) }
        else if (blocks.firstElementChild) { blocks.firstElementChild.dataset.begin = message.begin }
        scroll = () => { pane.scrollTop += pane.scrollHeight - height }
        break
      case "later":
        if (message.html) { blocks.append(block(message.html, message.begin)) }
        end = message.is_end ? null : message.end
        break
      case "place":
        clear()
        follow.checked = false
        blocks.append(block(message.html, message.begin))
        end = message.is_end ? null : message.end
        scroll = toHit
        break
      default:
        if (message.html) { blocks.append(block(message.html, message.begin)) }
        if (message.tail !== undefined) { tail.innerHTML = message.tail }
        if (follow.checked) { trim() }
        scroll = toEnd
    }
    edges()
    scroll()
    top = pane.scrollTop
  })
  model.on(["size", "download"], size)
  model.on("words", edges)
  model.on(["names", "name_shown"], names)
  model.on("found", found)
  model.on("preview", () => { preview.innerHTML = model.preview })
  const more = (action, value) => {
    if (!pending) {
      pending = true
      model.send_msg({action, value: String(value)})
    }
  }
  find(".earlier").onclick = () => more("earlier", blocks.firstElementChild.dataset.begin)
  find(".later").onclick = () => more("later", end)
  find(".wrap").onchange = (event) => {
    pane.classList.toggle("wrapped", event.target.checked)
    toEnd()
    top = pane.scrollTop
  }
  follow.onchange = () => {
    if (follow.checked) { model.send_msg({action: "end"}) }
  }
  // Whoever scrolls up reads, and is left in peace; at the end again, it follows again. The wheel is told of before
  // the pane moves, so that no line that comes between takes the reader back.
  pane.addEventListener("wheel", (event) => { if (event.deltaY < 0 && pane.scrollTop > 0) { follow.checked = false } }, {passive: true})
  pane.addEventListener("scroll", () => {
    const moved = pane.scrollTop - top
    top = pane.scrollTop
    const left = pane.scrollHeight - pane.scrollTop - pane.clientHeight
    if (moved < 0 && left > 2) { follow.checked = false }  // else the pane has become higher, and its end is still seen
    if (moved > 0 && end === null && !pane.querySelector("mark.hit")) { follow.checked = left < 24 }
  }, {passive: true})

  const ask = () => {
    clearTimeout(typing)
    if (field.value === asked) { return false }
    asked = field.value
    model.send_msg({action: "find", value: asked})
    mark()
    return true
  }
  field.addEventListener("input", () => { clearTimeout(typing); typing = setTimeout(ask, 250) })
  field.addEventListener("keydown", (event) => {
    if (event.key !== "Enter") { return }
    event.preventDefault()
    if (!ask()) { model.send_msg({action: event.shiftKey ? "previous" : "next"}) }
  })
  find(".find").addEventListener("submit", (event) => event.preventDefault())
  for (const button of root.querySelectorAll(".find button")) {
    button.onclick = () => { if (!ask()) { model.send_msg({action: button.value}) } }
  }
  find(".first-error").onclick = () => { field.value = asked = ""; model.send_msg({action: "error"}) }
  window.apsis.events.addEventListener("theme", paint)
  model.on("remove", () => window.apsis.events.removeEventListener("theme", paint))
  paint(); size(); names(); found(); edges()
  preview.innerHTML = model.preview
  model.send_msg({action: "ready"})
  return root
}
