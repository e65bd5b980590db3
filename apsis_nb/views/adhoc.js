// The form for a new run. It holds what is typed; what fits and what would run is asked of the page's process.

const html = (text) => String(text ?? "").replace(/[&<>"]/g, c => ({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;"})[c])
const HINTS = {int: "a whole number", float: "a number", duration: "such as 90s or 1h30m", datetime: "such as 2026-01-31T09:00:00Z"}
const KINDS = [["job", "Job"], ["command", "Command"], ["nothing", "Nothing"]]

function fieldOf(param, given) {
  const {name, type, choices, description} = param
  const value = given ?? param.default ?? ""
  const id = `arg-${name}`
  const attributes = `id="${html(id)}" data-arg="${html(name)}" aria-describedby="${html(id)}-says"`
  let field
  if (choices?.length) {
    const none = param.default === undefined ? '<option value="">choose …</option>' : ""
    field = `<select ${attributes}>${none}${choices.map(c =>
      `<option${c === value ? " selected" : ""}>${html(c)}</option>`).join("")}</select>`
  } else if (type === "bool") {
    const none = param.default === undefined ? '<option value="">choose …</option>' : ""
    field = `<select ${attributes}>${none}${["true", "false"].map(c =>
      `<option${c === value ? " selected" : ""}>${c}</option>`).join("")}</select>`
  } else if (type === "date") {
    field = `<input type="date" ${attributes} value="${html(value)}" max="9999-12-31">`
  } else if (type === "time" || type === "daytime") {
    field = `<input type="time" step="1" ${attributes} value="${html(value)}">`
  } else {
    const mode = type === "int" ? ' inputmode="numeric"' : type === "float" ? ' inputmode="decimal"' : ""
    field = `<input type="text" ${attributes} value="${html(value)}"${mode} placeholder="${html(HINTS[type] ?? "")}"
      autocomplete="off" spellcheck="false">`
  }
  const more = [param.default === undefined ? "" : `default ${html(param.default)}`, html(description)].filter(Boolean).join(" · ")
  return `<div class="field"><label for="${html(id)}">${html(name)} <i>${html(type)}</i></label>${field}
    <p class="fault" id="${html(id)}-says"></p>${more ? `<p class="muted small">${more}</p>` : ""}</div>`
}

// The program as text for people: its command, or what else it is.
function programText(program) {
  if (program.command) { return program.command }
  if (program.argv) { return program.argv.map(a => (/[\s"'$]/.test(a) || a === "" ? JSON.stringify(a) : a)).join(" ") }
  return program.query ?? program.call ?? program.path ?? program.function ?? ""
}

export function render({model, el}) {
  const root = document.createElement(model.standing ? "section" : "dialog")
  root.className = model.standing ? "card adhoc" : "ask adhoc"
  if (model.standing) { root.setAttribute("aria-label", "New run") }
  root.setAttribute("aria-label", "New run")
  root.innerHTML = `<form novalidate><header><h2>New run</h2><span class="group kinds" role="group" aria-label="What to run">${KINDS.map(
      ([kind, word]) => `<button type="button" data-kind="${kind}">${word}</button>`).join("")}</span></header>
    <p class="wrong note" hidden></p>
    <div class="what"></div>
    <details class="more"><summary>When, label and more</summary>
    <div class="grid">
      <div class="field"><label for="when">Start</label><div class="pair"><select id="when"><option value="">now</option>
        <option value="at">at</option><option value="in">in</option></select><input id="at" hidden></div></div>
      <div class="field"><label for="stop">Stop if it still runs</label><div class="pair"><select id="stop"><option value="">never</option>
        <option value="at">at</option><option value="in">in</option></select><input id="until" hidden></div></div>
      <div class="field"><label for="labels">Labels <i>with commas between</i></label><input id="labels" autocomplete="off"
        spellcheck="false" placeholder="by which to find it again"></div>
      <div class="field"><label class="check"><input type="checkbox" id="test">a test</label>
        <p class="muted small">It fires no actions, satisfies no other run, and counts in no statistic.</p></div>
    </div></details>
    <section class="plan" aria-live="polite"></section>
    <p class="wrong fate" role="alert" hidden></p>
    <footer>${model.standing ? "" : '<button type="button" class="cancel">Cancel</button>'}<button class="primary go">Run</button></footer></form>`
  const form = root.querySelector("form"), what = root.querySelector(".what"), plan = root.querySelector(".plan")
  const note = root.querySelector(".note"), fate = root.querySelector(".fate"), go = root.querySelector(".go")
  const by = (id) => form.querySelector(`#${id}`)
  let kind = "job", job = "", args = {}, touched = new Set(), command = "", asked = 0, good = false, busy = false, wished = {}

  const say = (box, words) => {
    box.hidden = !words
    box.textContent = words ?? ""
  }
  const rights = () => {
    const rank = ["read", "run", "write", "admin"].indexOf(model.role)
    const need = kind === "job" ? "run" : "write"
    const lacks = model.role !== "" && rank < ["read", "run", "write"].indexOf(need)
    say(note, lacks ? `${kind === "job" ? "To run a job" : "To run a command"} takes the role ${need}, and ${model.user} has ${model.role}.` : "")
    return !lacks
  }

  // ---- What to run ----
  const draw = () => {
    for (const button of form.querySelectorAll("[data-kind]")) {
      button.setAttribute("aria-pressed", String(button.dataset.kind === kind))
    }
    if (kind === "command") {
      what.innerHTML = `<div class="field"><label for="command">Command <i>for the shell</i></label><textarea id="command" rows="5"
        spellcheck="false" placeholder="python3 fit.py --rounds 100"></textarea></div>`
      by("command").value = command
      by("command").focus()
    } else if (kind === "nothing") {
      what.innerHTML = '<p class="muted">A run that does nothing, and succeeds: to try out labels, times and notices.</p>'
    } else if (job) {
      drawJob()
    } else {
      what.innerHTML = `<div class="field"><label for="find">Job</label><input id="find" role="combobox" aria-expanded="true"
        aria-controls="choices" placeholder="Words of its id, label or description" autocomplete="off" spellcheck="false">
        <ul class="choices" id="choices" role="listbox" aria-label="Jobs"><li class="muted" role="option" aria-disabled="true">Loading …</li></ul></div>`
      drawChoices()
      ask("jobs", {words: ""})
      by("find").focus()
    }
    changed()
  }
  const drawJob = () => {
    const facts = model.job.id === job ? model.job : null
    const head = `<div class="chosen"><b>${html(job)}</b><button type="button" class="other">Another job</button></div>`
    if (facts === null) {
      what.innerHTML = head + '<p class="muted">Loading …</p>'
      model.send_msg({action: "job", id: job})
    } else if (facts.error) {
      what.innerHTML = head
      say(fate, facts.error)
    } else {
      const intro = facts.description ? `<p class="muted intro">${html(facts.description)}</p>` : ""
      const fields = facts.params.map(p => fieldOf(p, args[p.name])).join("")
      what.innerHTML = head + intro + (fields ? `<div class="grid">${fields}</div>` : '<p class="muted">It has no params.</p>')
      what.querySelector("[data-arg]")?.focus()
    }
  }
  let choices = [], at = 0
  const drawChoices = () => {
    const {items, words, count, error} = model.jobs
    const list = what.querySelector(".choices")
    if (!list || words === undefined || words !== (by("find")?.value.trim() ?? "")) { return }
    choices = items ?? []
    at = 0
    list.innerHTML = error ? `<li class="muted" role="option" aria-disabled="true">${html(error)}</li>` : choices.length
      ? choices.map((c, n) => `<li role="option" data-n="${n}" aria-selected="${n === 0}"><b>${html(c.title)}</b><span>${html(c.detail)}</span></li>`).join("")
        + (count > choices.length ? `<li class="muted" role="option" aria-disabled="true">and ${count - choices.length} more: type more words</li>` : "")
      : `<li class="muted" role="option" aria-disabled="true">${words ? `No job has “${html(words)}”.` : "There are no jobs yet: run a command, or write a job file with apsis-nb new JOB."}</li>`
  }
  const mark = () => what.querySelectorAll("[data-n]").forEach((li, n) => {
    li.setAttribute("aria-selected", String(n === at))
    if (n === at) { li.scrollIntoView({block: "nearest"}) }
  })
  const choose = (id) => {
    job = id; args = {}; touched = new Set()
    draw()
  }

  // ---- What would run ----
  const moment = (choice, field) => {
    // What the server reads: an instant, or +10m.
    if (!choice) { return "" }
    const said = field.value.trim()
    if (choice === "in") { return said ? (/^[+-]/.test(said) ? said : `+${said}`) : "?" }
    if (!said) { return "?" }
    return new Date(window.apsis.instant(said)).toISOString()
  }
  const wanted = () => {
    const given = {}
    for (const field of what.querySelectorAll("[data-arg]")) {
      const param = model.job.params.find(p => p.name === field.dataset.arg)
      args[param.name] = field.value
      if (field.value !== "" || (param.default === undefined && param.type === "str")) { given[param.name] = field.value }
    }
    if (by("command")) { command = by("command").value }
    return {kind, job, args: given, command, at: moment(by("when").value, by("at")), stop_at: moment(by("stop").value, by("until")),
      labels: by("labels").value, test: by("test").checked}
  }
  const isWhole = () => (kind === "nothing" || (kind === "command" ? command.trim() !== "" : job && model.job.id === job && !model.job.error))
  const state = () => {
    const may = rights()
    go.disabled = !(may && good && !busy)
    go.textContent = busy ? "Starting …" : by("when").value ? "Schedule" : "Run"
  }
  const ask = (action, data) => model.send_msg({action, ...data})
  let waits
  const changed = () => {
    good = false
    say(fate, job && kind === "job" && model.job.id === job ? model.job.error : "")
    const form = wanted()
    asked += 1
    clearTimeout(waits)
    if (!isWhole()) {
      plan.innerHTML = ""
    } else if ([form.at, form.stop_at].includes("?")) {
      plan.innerHTML = '<p class="muted">Say when.</p>'
    } else if (rights()) {
      waits = setTimeout(() => ask("plan", {...form, n: asked}), 150)
    }
    state()
  }
  const told = () => {
    const {n, plan: facts, faults, error} = model.plan
    if (n !== asked) { return }
    const named = error?.match(/^arg (\S+) of job \S+: ([^]*)$/)
    const wrong = {...faults, ...(named ? {[named[1]]: named[2]} : {})}
    for (const field of what.querySelectorAll("[data-arg]")) {
      const fault = wrong[field.dataset.arg]
      // That something is needed is said where it was left empty, not before anybody came to it.
      const shown = fault === "needed" && !touched.has(field.dataset.arg) ? "" : fault ?? ""
      field.setAttribute("aria-invalid", String(Boolean(shown)))
      field.closest(".field").querySelector(".fault").textContent = shown
    }
    const missing = Object.entries(wrong).filter(([, fault]) => fault === "needed").map(([name]) => name)
    good = Boolean(facts)
    say(fate, error && !named ? error : "")
    plan.innerHTML = facts ? planHtml(facts) : missing.length ? `<p class="muted">Fill in ${html(missing.join(", "))}.</p>` : ""
    window.apsis.write(plan)
    state()
  }
  const planHtml = (facts) => {
    const args = Object.entries(facts.args).map(([k, v]) => `<span class="arg"><i>${html(k)}</i>${html(v)}</span>`)
    const labels = facts.labels.map(l => `<span class="label">${html(l)}</span>`)
    const later = by("when").value !== ""
    const rows = [
      ["due", later ? `<time datetime="${facts.scheduled_at}"></time>` : "now"],
      ["stops", facts.stop_at ? `<time datetime="${facts.stop_at}"></time>` : ""],
      ["waits for", facts.condition.map(html).join("<br>")],
      ["then", by("test").checked ? "" : facts.action.map(html).join("<br>")],
      ["on", facts.host === "local" ? "" : html(facts.host)],
    ]
    const text = programText(facts.program)
    return `<h3>What will run</h3><p>${html(kind === "job" ? facts.job_id : kind === "command" ? "the command" : "nothing")}
      <span class="chips">${[...args, ...labels].join("")}</span></p>${text ? `<pre class="code">${html(text)}</pre>` : ""}
      <dl class="facts">${rows.filter(([, v]) => v).map(([k, v]) => `<dt>${k}</dt><dd>${v}</dd>`).join("")}</dl>`
  }

  // ---- Events ----
  form.addEventListener("click", (event) => {
    const button = event.target.closest("button")
    if (button?.dataset.kind) { kind = button.dataset.kind; draw() }
    else if (button?.classList.contains("other")) { choose("") }
    else if (button?.classList.contains("cancel")) { root.close() }
    const choice = event.target.closest("[data-n]")
    if (choice) { choose(choices[choice.dataset.n].title) }
  })
  form.addEventListener("input", (event) => {
    if (event.target.id === "find") {
      const words = event.target.value.trim()
      clearTimeout(waits)
      waits = setTimeout(() => ask("jobs", {words}), 100)
      return
    }
    if (event.target.dataset.arg) { touched.add(event.target.dataset.arg) }
    const pair = {when: "at", stop: "until"}[event.target.id]
    if (pair) {
      const field = by(pair), how = event.target.value
      field.hidden = !how
      field.type = how === "at" ? "datetime-local" : "text"
      field.placeholder = how === "in" ? "10m" : ""
      field.value = ""
      field.setAttribute("aria-label", how === "in" ? "after how long, such as 10m" : `time, in ${window.apsis.zoneName()}`)
      field.title = how === "at" ? window.apsis.zoneName() : ""
    }
    changed()
  })
  form.addEventListener("focusout", (event) => {
    if (event.target.dataset?.arg && !touched.has(event.target.dataset.arg)) {
      touched.add(event.target.dataset.arg)
      told()
    }
  })
  form.addEventListener("keydown", (event) => {
    if (event.target.id === "find" && choices.length) {
      const step = {ArrowDown: 1, ArrowUp: -1}[event.key]
      if (step) { event.preventDefault(); at = (at + step + choices.length) % choices.length; mark() }
      else if (event.key === "Enter") { event.preventDefault(); choose(choices[at].title) }
    } else if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      form.requestSubmit()
    }
  })
  form.addEventListener("submit", (event) => {
    event.preventDefault()
    if (go.disabled) { return }
    busy = true
    asked += 1
    ask("run", {...wanted(), n: asked})
    state()
  })
  const made = () => {
    const {n, run_id, error} = model.made
    if (n !== asked) { return }
    if (run_id) { location.href = `run?id=${run_id}`; return }
    busy = false
    say(fate, error)
    state()
  }

  const open = (event) => {
    const {job: id, args: given} = event?.detail ?? {}
    if (id) { kind = "job"; job = id; args = {...given} } else if (!model.standing) { kind = "job"; job = "" }
    busy = false
    if (!model.standing && !root.open) { root.showModal() }
    draw()
  }
  root.addEventListener("click", (event) => { if (event.target === root && !model.standing) { root.close() } })
  model.on("jobs", drawChoices)
  model.on("job", () => { if (kind === "job" && model.job.id === job) { drawJob(); changed() } })
  model.on("plan", told)
  model.on("made", made)
  // Until the page is told who reads it, nobody hears what it asks.
  model.on("role", () => {
    if (model.standing) { draw(); return }
    if (root.open && by("find") && !choices.length) { ask("jobs", {words: by("find").value.trim()}) }
    state()
  })
  window.apsis.events.addEventListener("adhoc", open)
  model.on("remove", () => window.apsis.events.removeEventListener("adhoc", open))
  if (model.standing) {
    job = model.wish.job ?? ""
    args = {...model.wish.args}
    const wait = () => { if (!model.role) { what.innerHTML = `<p class="muted">${html(model.waiting)}</p>` } }
    wait()
    model.on("waiting", wait)
    go.disabled = true
    if (model.role) { setTimeout(draw) }
  }
  return root
}
