// The output of a run: grows at its end, is kept at its end while one follows, and gives back what lies further up.

const MOST_CHARS = 1.5e6  // of HTML; beyond it the first pieces are let go while one follows

export function render({model}) {
  const root = document.createElement("section")
  root.className = "card output"
  root.innerHTML = `<header><h2>Output</h2><span class="names group"></span><span class="muted size num"></span>
    <div class="more bar"><label class="check"><input type="checkbox" class="follow" checked>follow</label>
    <label class="check"><input type="checkbox" class="wrap">wrap lines</label>
    <a class="download" download>download</a></div></header>
    <div class="pane mono" role="log" aria-label="Output of the run" tabindex="0">
      <button class="earlier" hidden>Show what comes before</button>
      <div class="blocks"></div><div class="tail"></div><p class="nothing"></p></div>`
  const find = (selector) => root.querySelector(selector)
  const pane = find(".pane"), blocks = find(".blocks"), tail = find(".tail"), follow = find(".follow")
  let chars = 0, pending = false

  const toEnd = () => { if (follow.checked) { pane.scrollTop = pane.scrollHeight } }
  const block = (html, begin) => {
    const el = document.createElement("div")
    el.className = "block"
    el.innerHTML = html
    el.dataset.begin = begin
    el.dataset.chars = html.length
    chars += html.length
    return el
  }
  const trim = () => {
    while (chars > MOST_CHARS && blocks.childElementCount > 1) {
      chars -= Number(blocks.firstElementChild.dataset.chars)
      blocks.firstElementChild.remove()
    }
  }
  const earlier = () => {
    const first = blocks.firstElementChild
    find(".earlier").hidden = !first || Number(first.dataset.begin) === 0
    find(".nothing").textContent = first || tail.textContent ? "" : model.words
  }
  const size = () => {
    const n = model.size
    find(".size").textContent = n < 1024 ? (n ? `${n} B` : "") : n < 1048576 ? `${(n / 1024).toFixed(1)} kB`
      : n < 1073741824 ? `${(n / 1048576).toFixed(1)} MB` : `${(n / 1073741824).toFixed(2)} GB`
    find(".download").href = model.download
    find(".download").hidden = !model.download || !n
  }
  const names = () => {
    find(".names").replaceChildren(...(model.names.length < 2 ? [] : model.names.map(name => {
      const button = document.createElement("button")
      button.textContent = name
      button.setAttribute("aria-pressed", String(name === model.name_shown))
      button.onclick = () => model.send_msg({action: "name", value: name})
      return button
    })))
  }
  const paint = () => pane.classList.toggle("dark", window.apsis.dark())

  model.on("msg:custom", (message) => {
    if (message.op === "reset") {
      blocks.replaceChildren()
      tail.innerHTML = ""
      chars = 0
    }
    if (message.op === "prepend") {
      const height = pane.scrollHeight
      follow.checked = false
      if (message.html) { blocks.prepend(block(message.html, message.begin)) }
      else if (blocks.firstElementChild) { blocks.firstElementChild.dataset.begin = message.begin }
      pane.scrollTop += pane.scrollHeight - height
      pending = false
    } else {
      if (message.html) { blocks.append(block(message.html, message.begin)) }
      if (message.tail !== undefined) { tail.innerHTML = message.tail }
      if (follow.checked) { trim() }
      toEnd()
    }
    earlier()
  })
  model.on(["size", "download"], size)
  model.on("words", earlier)
  model.on(["names", "name_shown"], names)
  find(".earlier").onclick = () => {
    if (!pending) {
      pending = true
      model.send_msg({action: "earlier", value: blocks.firstElementChild.dataset.begin})
    }
  }
  find(".wrap").onchange = (event) => pane.classList.toggle("wrapped", event.target.checked)
  follow.onchange = toEnd
  // Whoever scrolls up reads, and is left in peace; at the end again, it follows again.
  pane.addEventListener("wheel", () => requestAnimationFrame(() => {
    follow.checked = pane.scrollHeight - pane.scrollTop - pane.clientHeight < 24
  }), {passive: true})
  window.apsis.events.addEventListener("theme", paint)
  model.on("remove", () => window.apsis.events.removeEventListener("theme", paint))
  paint(); size(); names(); earlier()
  model.send_msg({action: "ready"})
  return root
}
