// The button of a run's card that has the browser tell when the run ends. The Python side is notice.py.

function render({ model, el }) {
  const button = document.createElement("button")
  button.type = "button"
  button.className = "jupyter-widgets jupyter-button widget-button"
  let refused = ""
  const paint = () => {
    const on = model.get("on")
    button.textContent = refused || (on ? "✓ Will tell you" : "Tell me")
    button.title = "A notification of the browser when it ends, also while you look at another tab"
    button.setAttribute("aria-pressed", String(on))
    button.style.display = model.get("live") ? "" : "none" // of the element itself the layout decides
  }
  button.addEventListener("click", async () => {
    const wanted = !model.get("on")
    // A browser asks its reader only when he has just done something.
    const allowed = !wanted || ("Notification" in window && (await Notification.requestPermission()) === "granted")
    refused = allowed ? "" : "The browser blocks it"
    model.set("on", wanted && allowed)
    model.save_changes()
    paint()
  })
  const tell = () => {
    const { title, body, tag } = model.get("ended")
    // The tag keeps two views of a card from telling twice.
    if (title && model.get("on")) { new Notification(title, { body, tag }) }
  }
  el.append(button)
  paint()
  model.on("change:on", paint)
  model.on("change:live", paint)
  model.on("change:ended", tell)
  return () => {
    model.off("change:on", paint)
    model.off("change:live", paint)
    model.off("change:ended", tell)
  }
}

export default { render }
