// A text field over the same text in colours: what is typed is the browser's own business, the colours follow it.

const html = (text) => text.replace(/[&<>]/g, c => ({"&": "&amp;", "<": "&lt;", ">": "&gt;"})[c])
const span = (kind, text) => (text ? `<span class="${kind}">${html(text)}</span>` : "")

function scalar(text) {
  if (/^\s*(true|false|null|~|[-+]?\d[\d._]*([eE][-+]?\d+)?)\s*$/.test(text)) { return span("y-number", text) }
  if (/^\s*["'[{]/.test(text)) { return span("y-string", text) }
  if (/^\s*[&*!|>]/.test(text)) { return span("y-sign", text) }
  return html(text)
}
// Where a comment begins; a `#` within quotes or within a word is none.
function commentAt(line) {
  let quote = ""
  for (let n = 0; n < line.length; n++) {
    const c = line[n], before = line[n - 1] ?? " "
    if (quote) {
      if (c === quote && !(quote === '"' && before === "\\")) { quote = "" }
    } else if ((c === '"' || c === "'") && /[\s:[{,]/.test(before)) {
      quote = c
    } else if (c === "#" && /\s/.test(before)) {
      return n
    }
  }
  return line.length
}
// One line; `block` is the indent of a text that stands below `|` or `>`, or null.
function paint(line, block) {
  const indent = line.match(/^ */)[0].length
  if (block !== null && (line.trim() === "" || indent > block)) { return [span("y-string", line), block] }
  const cut = commentAt(line)
  const body = line.slice(0, cut), comment = line.slice(cut)
  const pair = body.match(/^(\s*(?:- +)*)([^\s:#][^:]*?)(:)(\s.*|)$/)
  const painted = pair ? html(pair[1]) + span("y-key", pair[2]) + span("y-sign", pair[3]) + scalar(pair[4]) : scalar(body)
  const opens = /[:-]\s+[|>][-+\d]*\s*$/.test(body)
  return [painted + span("y-comment", comment), opens ? indent : null]
}
function colours(text, faults) {
  let block = null
  return text.split("\n").map((line, n) => {
    const [painted, next] = paint(line, block)
    block = next
    const fault = faults.get(n + 1)
    return `<div class="y-line${fault ? ` y-${fault}` : ""}">${painted || " "}</div>`
  }).join("")
}

export function render({model}) {
  const root = document.createElement("div")
  root.className = "yaml"
  root.innerHTML = `<div class="sheet"><div class="numbers" aria-hidden="true"></div><div class="paper"><pre aria-hidden="true"></pre>
    <textarea spellcheck="false" autocomplete="off" autocapitalize="off" wrap="off" aria-label="Text of the job file"></textarea></div></div>
    <ul class="faults" aria-live="polite"></ul>
    <footer hidden><span class="state muted"></span><button class="undo">Undo changes</button><button class="primary save">Save …</button></footer>`
  const field = root.querySelector("textarea"), pre = root.querySelector("pre"), numbers = root.querySelector(".numbers")
  const list = root.querySelector(".faults"), foot = root.querySelector("footer"), state = root.querySelector(".state")
  const save = root.querySelector(".save")
  let base = model.text, asked = 0, faults = [], checked = true, draft = model.draft.n

  const isChanged = () => field.value !== base
  const draw = () => {
    const by = new Map()
    for (const {line, level} of faults) { if (line && by.get(line) !== "error") { by.set(line, level) } }
    pre.innerHTML = colours(field.value, by)
    const lines = field.value.split("\n").length
    if (numbers.childElementCount !== lines) {
      numbers.innerHTML = Array.from({length: lines}, (_, n) => `<div>${n + 1}</div>`).join("")
    }
    field.style.height = `${pre.offsetHeight}px`
    field.style.width = `${Math.max(pre.scrollWidth, pre.parentElement.clientWidth)}px`
    list.replaceChildren(...faults.map(({line, col, level, message}) => {
      const li = document.createElement("li")
      li.className = `y-${level}`
      const place = document.createElement("button")
      place.className = "place"
      place.textContent = line ? `line ${line}${col ? `, ${col}` : ""}` : level
      place.addEventListener("click", () => go(line, col))
      li.append(place, document.createTextNode(message))
      return li
    }))
    foot.hidden = !model.can_write || !isChanged()
    const errors = faults.filter(f => f.level === "error").length
    state.textContent = !checked ? "Checking …" : errors ? "Mend what is wrong, then it can be saved." : "Nothing is wrong with it."
    save.disabled = !checked || errors > 0
    field.readOnly = !model.can_write
  }
  const go = (line, col) => {
    if (!line) { return }
    const before = field.value.split("\n").slice(0, line - 1).reduce((sum, l) => sum + l.length + 1, 0)
    field.focus()
    field.setSelectionRange(before + Math.max(0, (col ?? 1) - 1), before + Math.max(0, (col ?? 1) - 1))
    pre.children[line - 1]?.scrollIntoView({block: "nearest"})
  }
  let waits
  const changed = () => {
    clearTimeout(waits)
    checked = !model.can_write
    asked += 1
    if (model.can_write) { waits = setTimeout(() => model.send_msg({action: "check", text: field.value, n: asked}), 300) }
    draw()
  }
  field.addEventListener("input", changed)
  field.addEventListener("keydown", (event) => {
    if (event.key === "Tab" && !event.shiftKey && !field.readOnly) {  // Esc, then Tab leaves the field
      if (field.dataset.leave) { return }
      event.preventDefault()
      document.execCommand("insertText", false, "  ")
    } else if (event.key === "Escape") {
      field.dataset.leave = "1"
    } else if ((event.ctrlKey || event.metaKey) && event.key === "s") {
      event.preventDefault()
      if (!foot.hidden && !save.disabled) { save.click() }
    }
  })
  field.addEventListener("blur", () => { delete field.dataset.leave })
  root.querySelector(".undo").addEventListener("click", () => { base = field.value = model.text; changed() })
  save.addEventListener("click", () => model.send_msg({action: "save?", text: field.value, base}))
  model.on("text", () => {
    // What is typed was begun from the text that was there then; if that is another now, saving says so.
    if (!isChanged() || field.value === model.text) { base = field.value = model.text; faults = []; changed() }
  })
  model.on("draft", () => {
    if (model.draft.n !== draft) { draft = model.draft.n; field.value = model.draft.text; changed(); field.focus() }
  })
  model.on("checked", () => {
    if (model.checked.n === asked) { faults = model.checked.errors; checked = true; draw() }
  })
  model.on("can_write", changed)
  window.addEventListener("beforeunload", (event) => { if (model.can_write && isChanged()) { event.preventDefault() } })
  field.value = base
  new ResizeObserver(draw).observe(root)
  setTimeout(changed)
  return root
}
