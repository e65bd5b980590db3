// The keys of the timeline; they do nothing while somebody types, or while a dialog is open.

const ACTIONS = {ArrowLeft: "back", ArrowRight: "ahead", "+": "closer", "=": "closer", "-": "wider", 0: "now"}
const HELD = "input, textarea, select, [contenteditable], [role=tab], .pane"

export function render({model}) {
  const pressed = (event) => {
    const action = ACTIONS[event.key]
    const isTaken = event.ctrlKey || event.metaKey || event.altKey || event.composedPath()[0].closest?.(HELD)
    if (!action || isTaken || document.querySelector("dialog[open]")) { return }
    event.preventDefault()
    model.send_msg({action, value: ""})
  }
  document.addEventListener("keydown", pressed)
  model.on("remove", () => document.removeEventListener("keydown", pressed))
  return document.createElement("span")
}
