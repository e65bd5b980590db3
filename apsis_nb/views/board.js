// A piece of a page whose HTML comes from the server: it changes only what differs, so that focus, scroll position and
// text selection survive, writes times in the reader's zone, lets them tick, and asks before it acts.

function morph(from, to) {
  const old = [...from.childNodes], fresh = [...to.childNodes]
  fresh.forEach((node, n) => {
    const was = old[n]
    if (was === undefined) { from.appendChild(node); return }
    if (was.nodeType !== node.nodeType || was.nodeName !== node.nodeName
        || (was.id ?? "") !== (node.id ?? "") || was.dataset?.key !== node.dataset?.key) {
      from.replaceChild(node, was)
      return
    }
    if (was.nodeType === Node.TEXT_NODE) {
      if (was.data !== node.data) { was.data = node.data }
      return
    }
    const isChecked = was.hasAttribute?.("checked")
    for (const {name} of [...(was.attributes ?? [])]) {
      // What the reader has opened or typed stays; and `title` of a time is written here, not by the server.
      if (!node.hasAttribute(name) && name !== "open" && !(name === "title" && was.nodeName === "TIME")) {
        was.removeAttribute(name)
      }
    }
    for (const {name, value} of [...(node.attributes ?? [])]) {
      const ticks = name === "style" && was.parentNode?.dataset?.end  // a progress bar's width is written here
      if (!ticks && was.getAttribute(name) !== value) { was.setAttribute(name, value) }
    }
    // What is checked follows the server only where the server changes it, so that a click is not undone.
    if (was.type === "checkbox" && isChecked !== node.hasAttribute("checked")) { was.checked = node.hasAttribute("checked") }
    if (was.nodeName === "TIME" && was.dateTime === node.dateTime) { return }
    if (was.nodeName === "INPUT" || was.nodeName === "SELECT") { return }
    // What a template holds is not among its children.
    if (was.nodeName === "TEMPLATE") {
      if (was.innerHTML !== node.innerHTML) { was.innerHTML = node.innerHTML }
      return
    }
    morph(was, node)
  })
  old.slice(fresh.length).forEach(node => node.remove())
}

function ask(root, {title, yes: word, danger, body, focus}) {
  // The dialog of the browser itself: it holds the focus, and Escape closes it.
  const dialog = document.createElement("dialog")
  dialog.className = "ask"
  dialog.innerHTML = `<form method="dialog"><h2></h2><div class="body"></div><footer>
    <button value="no" class="plain">Cancel</button><button value="yes"></button></footer></form>`
  dialog.querySelector("h2").textContent = title
  dialog.setAttribute("aria-label", title)
  dialog.querySelector(".body").append(body ?? "")
  const yes = dialog.querySelector('button[value="yes"]')
  yes.textContent = word || "OK"
  yes.className = danger ? "danger" : "primary"
  yes.hidden = word === ""  // an answer to which there is nothing to do
  root.appendChild(dialog)
  window.apsis.write(dialog)
  return new Promise(resolve => {
    dialog.addEventListener("close", () => {
      const form = Object.fromEntries(new FormData(dialog.querySelector("form")))
      dialog.remove()
      focus?.focus()
      resolve(dialog.returnValue === "yes" ? form : null)
    })
    dialog.addEventListener("click", (event) => { if (event.target === dialog) { dialog.close("no") } })
    dialog.showModal()
    if (yes.hidden) { dialog.querySelector('[value="no"]').textContent = "Close" }
    ;(dialog.querySelector("input:not([type=checkbox]), select") ?? (yes.className === "danger" ? dialog.querySelector('[value="no"]') : yes)).focus()
  })
}

export function render({model}) {
  const root = document.createElement("div")
  root.className = "board"
  const box = document.createElement("div")
  box.className = "box"
  root.appendChild(box)

  const write = () => {
    window.apsis.write(box)
    for (const bar of box.querySelectorAll(".progress[data-end]")) {
      const {start, end} = bar.dataset
      const done = Math.max(0, (window.apsis.now() - start) / (end - start))
      bar.firstElementChild.style.width = `${Math.min(100, done * 100).toFixed(1)}%`
      bar.classList.toggle("over", done > 1.5)
    }
  }
  const draw = () => {
    const fresh = document.createElement("div")
    fresh.innerHTML = model.content
    morph(box, fresh)
    write()
  }
  const send = (action, data = {}) => model.send_msg({action, ...data})

  box.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-action]")
    if (button && button.nodeName === "BUTTON") {
      if (window.apsis.isCut) { window.apsis.events.dispatchEvent(new Event("refused")); return }
      const {title, yes, action} = button.dataset
      const body = root.querySelector(`template[data-for="${action}"]`)?.content.cloneNode(true)
      const danger = button.classList.contains("danger")
      const form = title ? await ask(root, {title, yes, danger, body, focus: button}) : {}
      if (form !== null) { send(button.dataset.action, {value: button.dataset.value ?? "", form}) }
      return
    }
    const tells = event.target.closest("[data-tell]")  // what another piece of the page does, such as its dialog
    if (tells) {
      const detail = {...tells.dataset, args: JSON.parse(tells.dataset.args ?? "{}")}
      window.apsis.events.dispatchEvent(new CustomEvent(tells.dataset.tell, {detail}))
      return
    }
    const copy = event.target.closest("[data-copy]")
    if (copy) { navigator.clipboard?.writeText(copy.dataset.copy); copy.classList.add("copied"); return }
    const row = event.target.closest("tr[data-href], tr[data-fold]")
    const picking = getSelection()?.toString()
    if (row && !event.target.closest("a,button,input,select,label") && !picking) {
      if (row.dataset.fold) { send("fold", {value: row.dataset.fold}) } else if (event.ctrlKey || event.metaKey) { open(row.dataset.href) } else { location.href = row.dataset.href }
    }
  })
  box.addEventListener("change", (event) => {
    const field = event.target.closest("select[data-action], input[type=checkbox][data-action]")
    if (field) {
      const value = field.type === "checkbox" ? String(field.checked) : field.value
      send(field.dataset.action, {value, name: field.dataset.value ?? ""})
    }
  })
  let typing
  box.addEventListener("input", (event) => {
    const field = event.target.closest("input[type=search][data-action]")
    if (field) {
      clearTimeout(typing)
      typing = setTimeout(() => send(field.dataset.action, {value: field.value}), 100)
    }
  })
  // Rows: Enter opens, j and k or the arrows go down and up.
  box.addEventListener("keydown", (event) => {
    const row = event.target.closest("tr[tabindex]")
    if (!row || event.target !== row) { return }
    const step = {j: 1, ArrowDown: 1, k: -1, ArrowUp: -1}[event.key]
    if (event.key === "Enter" && row.dataset.fold) {
      send("fold", {value: row.dataset.fold})
    } else if (event.key === "Enter") {
      location.href = row.dataset.href
    } else if (event.key === "x") {
      row.querySelector("input[type=checkbox]")?.click()
    } else if (step) {
      event.preventDefault()
      ;(step > 0 ? row.nextElementSibling : row.previousElementSibling)?.focus()
    }
  })

  // What the server asks, when it knows what would happen.
  const question = async () => {
    const {title, html, yes, danger, action, value} = model.question
    if (!title || root.querySelector("dialog[open]")) { return }
    const body = document.createElement("template")
    body.innerHTML = html
    const form = await ask(root, {title, yes, danger, body: body.content})
    if (form !== null) { send(action, {value, form}) }
  }

  draw()
  model.on("content", draw)
  model.on("question", question)
  window.apsis.events.addEventListener("zone", write)
  const clock = setInterval(() => { if (!document.hidden) { write() } }, 1000)
  model.on("remove", () => { clearInterval(clock); window.apsis.events.removeEventListener("zone", write) })
  return root
}
