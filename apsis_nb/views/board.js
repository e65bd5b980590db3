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
    if (was.nodeName === "TIME" && was.dateTime === node.dateTime) { return }
    if (was.nodeName === "INPUT" || was.nodeName === "SELECT") { return }
    morph(was, node)
  })
  old.slice(fresh.length).forEach(node => node.remove())
}

function ask(root, button) {
  // The dialog of the browser itself: it holds the focus, and Escape closes it.
  const dialog = document.createElement("dialog")
  dialog.className = "ask"
  dialog.innerHTML = `<form method="dialog"><h2></h2><div class="body"></div><footer>
    <button value="no" class="plain">Cancel</button><button value="yes"></button></footer></form>`
  dialog.querySelector("h2").textContent = button.dataset.title
  dialog.setAttribute("aria-label", button.dataset.title)
  dialog.querySelector(".body").append(
    root.querySelector(`template[data-for="${button.dataset.action}"]`)?.content.cloneNode(true) ?? "")
  const yes = dialog.querySelector('button[value="yes"]')
  yes.textContent = button.dataset.yes || "OK"
  yes.className = button.classList.contains("danger") ? "danger" : "primary"
  root.appendChild(dialog)
  window.apsis.write(dialog)
  return new Promise(resolve => {
    dialog.addEventListener("close", () => {
      const form = Object.fromEntries(new FormData(dialog.querySelector("form")))
      dialog.remove()
      button.focus()
      resolve(dialog.returnValue === "yes" ? form : null)
    })
    dialog.addEventListener("click", (event) => { if (event.target === dialog) { dialog.close("no") } })
    dialog.showModal()
    ;(dialog.querySelector("input") ?? (yes.className === "danger" ? dialog.querySelector('[value="no"]') : yes)).focus()
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
      const done = Math.max(0, (Date.now() - start) / (end - start))
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
      const form = button.dataset.title ? await ask(root, button) : {}
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
    const row = event.target.closest("tr[data-href]")
    const picking = getSelection()?.toString()
    if (row && !event.target.closest("a,button,input,select") && !picking) {
      if (event.ctrlKey || event.metaKey) { open(row.dataset.href) } else { location.href = row.dataset.href }
    }
  })
  box.addEventListener("change", (event) => {
    const field = event.target.closest("select[data-action], input[type=checkbox][data-action]")
    if (field) { send(field.dataset.action, {value: field.type === "checkbox" ? String(field.checked) : field.value}) }
  })
  let typing
  box.addEventListener("input", (event) => {
    const field = event.target.closest("input[type=search][data-action]")
    if (field) {
      clearTimeout(typing)
      typing = setTimeout(() => send(field.dataset.action, {value: field.value}), 150)
    }
  })
  // Rows: Enter opens, j and k or the arrows go down and up.
  box.addEventListener("keydown", (event) => {
    const row = event.target.closest("tr[data-href]")
    if (!row || event.target !== row) { return }
    const step = {j: 1, ArrowDown: 1, k: -1, ArrowUp: -1}[event.key]
    if (event.key === "Enter") {
      location.href = row.dataset.href
    } else if (step) {
      event.preventDefault()
      ;(step > 0 ? row.nextElementSibling : row.previousElementSibling)?.focus()
    }
  })

  draw()
  model.on("content", draw)
  window.apsis.events.addEventListener("zone", write)
  const clock = setInterval(() => { if (!document.hidden) { write() } }, 1000)
  model.on("remove", () => { clearInterval(clock); window.apsis.events.removeEventListener("zone", write) })
  return root
}
