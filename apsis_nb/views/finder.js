// Search and help, as dialogs that every page has, and the keys that work on every page.

const KEYS = [
  ["/", "search jobs, runs and labels"],
  ["n", "new run: of a job, or of a command"],
  ["j  k", "down and up in a table"],
  ["Enter", "open what is chosen"],
  ["Esc", "close a dialog"],
  ["?", "this help"],
]
const SIGNS = {page: "→", run: "▶", job: "◆", label: "#"}

const typing = (event) => event.ctrlKey || event.metaKey || event.altKey
  || event.composedPath()[0].matches?.("input, textarea, select, [contenteditable], .cm-content, .ace_text-input")

function deep(root, selector) {
  const found = [...root.querySelectorAll(selector)]
  for (const el of root.querySelectorAll("*")) { if (el.shadowRoot) { found.push(...deep(el.shadowRoot, selector)) } }
  return found
}
const seen = (el) => el.getClientRects().length > 0

export function render({model}) {
  const root = document.createElement("div")
  root.innerHTML = `
    <dialog class="finder" aria-label="Search"><input type="text" role="combobox" aria-expanded="true" aria-controls="found"
      aria-autocomplete="list" placeholder="A job, a run such as r123, or a label" autocomplete="off" spellcheck="false"
      aria-label="Search jobs, runs and labels"><ul id="found" role="listbox" aria-label="What was found"></ul>
      <p class="says" role="status"></p></dialog>
    <dialog class="ask help" aria-label="Keyboard shortcuts"><form method="dialog"><h2>Keyboard shortcuts</h2>
      <dl>${KEYS.map(([key, words]) => `<dt>${key.split("  ").map(k => `<kbd>${k}</kbd>`).join(" ")}</dt><dd>${words}</dd>`).join("")}</dl>
      <footer><button class="primary">Close</button></footer></form></dialog>`
  const [finder, help] = root.querySelectorAll("dialog")
  const field = finder.querySelector("input"), list = finder.querySelector("ul"), says = finder.querySelector(".says")
  let items = [], at = 0, asked = 0

  const draw = () => {
    list.replaceChildren(...items.map((item, n) => {
      const li = document.createElement("li")
      li.id = `found-${n}`
      li.setAttribute("role", "option")
      li.setAttribute("aria-selected", String(n === at))
      const [sign, title, detail] = ["i", "b", "span"].map(name => document.createElement(name))
      sign.textContent = SIGNS[item.kind]; sign.className = item.kind; sign.setAttribute("aria-hidden", "true")
      title.textContent = item.title; detail.textContent = item.detail || item.kind
      li.title = `${item.title}: ${detail.textContent}`  // of what has no room
      li.append(sign, title, detail)
      li.addEventListener("mousemove", () => { if (at !== n) { at = n; mark() } })
      li.addEventListener("click", (event) => open(item, event.ctrlKey || event.metaKey))
      return li
    }))
    mark()
  }
  const mark = () => {
    [...list.children].forEach((li, n) => li.setAttribute("aria-selected", String(n === at)))
    field.setAttribute("aria-activedescendant", items.length ? `found-${at}` : "")
    list.children[at]?.scrollIntoView({block: "nearest"})
  }
  const open = (item, anew) => {
    if (anew) { window.open(item.href) } else { finder.close(); location.href = item.href }
  }
  const pages = (words) => model.pages.filter(([, title]) => words && title.toLowerCase().includes(words.toLowerCase()))
    .map(([id, title]) => ({kind: "page", title, detail: "page", href: id}))

  let timer
  const ask = () => {
    clearTimeout(timer)
    says.textContent = "Searching …"
    asked += 1
    timer = setTimeout(() => model.send_msg({words: field.value.trim(), n: asked}), 120)
  }
  const told = () => {
    const {words, items: found, more, error, n} = model.found
    if (n !== asked) { return }  // an answer to what was typed before
    items = [...pages(words), ...(found ?? [])]
    at = 0
    says.textContent = error || (more ? `${more} more job${more > 1 ? "s" : ""}: type more of the name.` : items.length ? "" : `No job, run or label has “${words}”.`)
    draw()
  }
  field.addEventListener("input", ask)
  field.addEventListener("keydown", (event) => {
    const step = {ArrowDown: 1, ArrowUp: -1}[event.key]
    if (step && items.length) {
      event.preventDefault()
      at = (at + step + items.length) % items.length
      mark()
    } else if (event.key === "Enter" && items[at]) {
      event.preventDefault()
      open(items[at], event.ctrlKey || event.metaKey)
    }
  })
  for (const dialog of [finder, help]) {
    dialog.addEventListener("click", (event) => { if (event.target === dialog) { dialog.close() } })
  }
  const search = () => {
    if (finder.open) { return }
    finder.showModal()
    field.select()
    ask()
  }
  const explain = () => { if (!help.open) { help.showModal() } }

  const key = (event) => {
    if (typing(event) || deep(document, "dialog[open]").length) { return }
    if (event.key === "/") { event.preventDefault(); search() }
    else if (event.key === "?") { event.preventDefault(); explain() }
    else if (event.key === "n") { event.preventDefault(); window.apsis.events.dispatchEvent(new CustomEvent("adhoc", {detail: {}})) }
    else if ((event.key === "j" || event.key === "k") && !event.composedPath()[0].matches?.("tr")) {
      const row = deep(document, "tr[tabindex]").find(seen)
      if (row) { event.preventDefault(); row.focus() }
    }
  }
  document.addEventListener("keydown", key)
  window.apsis.events.addEventListener("search", search)
  window.apsis.events.addEventListener("help", explain)
  model.on("found", told)
  model.on("remove", () => {
    document.removeEventListener("keydown", key)
    window.apsis.events.removeEventListener("search", search)
    window.apsis.events.removeEventListener("help", explain)
  })
  return root
}
