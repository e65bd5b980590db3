// A box for SQL: the query, those that are ready or were kept in this browser, and the answer below. What is downloaded
// is made where the page is made, and handed over as bytes.

const KEPT = "apsis_nb.queries"
const TYPES = {csv: "text/csv", parquet: "application/vnd.apache.parquet"}

const kept = () => {
  try {
    const found = JSON.parse(localStorage.getItem(KEPT))
    return Array.isArray(found) ? found.filter(q => typeof q?.name === "string" && typeof q?.query === "string") : []
  } catch { return [] }
}
const keep = (queries) => {
  try { localStorage.setItem(KEPT, JSON.stringify(queries)); return true } catch { return false }
}

export function render({model}) {
  const root = document.createElement("section")
  root.className = "card sql"
  root.innerHTML = `<header><h2>SQL</h2><div class="more"><span>one SELECT over the
      views <code>runs</code>, <code>run_log</code>, <code>run_meta</code>, <code>missed</code> &hellip;</span></div></header>
    <div class="ask"><div class="bar">
      <label class="saved">Query <select class="choice"></select></label>
      <button class="save" title="Keep this query in this browser">Keep as &hellip;</button>
      <button class="drop" title="Forget the kept query that is chosen">Forget</button></div>
      <form class="name bar" hidden><input type="text" maxlength="80" aria-label="Name of the query"
        placeholder="A name"><button class="primary">Keep</button>
        <button type="button" class="no">Cancel</button></form>
      <textarea class="mono" rows="6" spellcheck="false" aria-label="SQL"
        placeholder="SELECT job_id, count(*) AS runs FROM runs GROUP BY job_id"></textarea>
      <div class="bar"><button class="primary run" title="Ctrl+Enter">Run</button>
        <button class="csv" disabled>Download CSV</button><button class="parquet" disabled>Download Parquet</button>
        <span class="state muted" role="status" aria-live="polite"></span></div></div>
    <div class="answer"></div>`
  const find = (selector) => root.querySelector(selector)
  const area = find("textarea"), choice = find(".choice"), name = find("form.name"), state = find(".state")

  const option = (value, words) => {
    const el = document.createElement("option")
    el.value = value
    el.textContent = words
    return el
  }
  const list = (chosen = "") => {
    const ours = document.createElement("optgroup"), own = document.createElement("optgroup")
    ours.label = "Ready"
    own.label = "Kept in this browser"
    ours.append(...model.ready.map(([words], n) => option(`ready:${n}`, words)))
    own.append(...kept().map((q, n) => option(`own:${n}`, q.name)))
    choice.replaceChildren(option("", "choose …"), ours, ...(own.childElementCount ? [own] : []))
    choice.value = chosen
    find(".drop").disabled = !choice.value.startsWith("own:")
  }
  choice.addEventListener("change", () => {
    const [kind, n] = choice.value.split(":")
    const query = kind === "ready" ? model.ready[n][1] : kind === "own" ? kept()[n]?.query : undefined
    if (query !== undefined) { area.value = query; run() }
    find(".drop").disabled = kind !== "own"
  })
  find(".save").addEventListener("click", () => {
    const [kind, n] = choice.value.split(":")
    name.hidden = false
    name.querySelector("input").value = kind === "own" ? kept()[n]?.name ?? "" : ""
    name.querySelector("input").focus()
  })
  find(".no").addEventListener("click", () => { name.hidden = true })
  name.addEventListener("submit", (event) => {
    event.preventDefault()
    const said = name.querySelector("input").value.trim()
    if (!said || !area.value.trim()) { state.textContent = "A name and a query are needed to keep one."; return }
    const others = kept().filter(q => q.name !== said)
    name.hidden = true
    if (keep([...others, {name: said, query: area.value}])) {
      list(`own:${others.length}`)
      state.textContent = `Kept as “${said}”, in this browser.`
    } else {
      state.textContent = "This browser keeps nothing for this page: a private window, or its room is full."
    }
  })
  find(".drop").addEventListener("click", () => {
    const n = Number(choice.value.split(":")[1]), queries = kept()
    const [gone] = queries.splice(n, 1)
    if (gone && keep(queries)) { list(); state.textContent = `“${gone.name}” was forgotten.` }
  })

  const busy = (words) => {
    state.textContent = words
    for (const button of root.querySelectorAll("button.run, button.csv, button.parquet")) { button.disabled = true }
  }
  const run = () => {
    if (!area.value.trim()) { state.textContent = "Write a query, or choose one."; return }
    busy("Asking …")
    model.send_msg({action: "run", value: area.value})
  }
  find(".run").addEventListener("click", run)
  area.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); run() }
  })
  for (const kind of ["csv", "parquet"]) {
    find(`.${kind}`).addEventListener("click", () => {
      busy("Making the file …")
      model.send_msg({action: kind, value: ""})
    })
  }

  model.on("msg:custom", (message) => {
    find(".run").disabled = false
    if (message.op === "answer") {
      find(".answer").innerHTML = message.html
      window.apsis.write(find(".answer"))
    } else if (message.op === "file") {
      const bytes = Uint8Array.from(atob(message.data), c => c.charCodeAt(0))
      const link = document.createElement("a")
      link.href = URL.createObjectURL(new Blob([bytes], {type: TYPES[message.kind]}))
      link.download = message.name
      link.click()
      setTimeout(() => URL.revokeObjectURL(link.href), 10000)
    }
    state.textContent = message.words
    find(".csv").disabled = find(".parquet").disabled = !message.has_answer
  })
  const zone = () => window.apsis.write(find(".answer"))
  window.apsis.events.addEventListener("zone", zone)
  model.on("remove", () => window.apsis.events.removeEventListener("zone", zone))
  list()
  return root
}
