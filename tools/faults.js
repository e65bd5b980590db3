// What can be measured of a page and is not as it should be: text that is cut and told nowhere, text over other text,
// and what stands outside the window. The page has `deep`, which looks below shadow roots.
() => {
  const up = (el) => el.parentElement ?? el.getRootNode().host ?? null
  const above = (el, test) => {
    for (let e = el; e; e = up(e)) { if (test(e)) { return e } }
    return null
  }
  const words = (el) => el.textContent.trim().replace(/\s+/g, " ").slice(0, 40)
  const name = (el) => [el.nodeName.toLowerCase(), ...el.classList].join(".")
  const isCut = (el) => getComputedStyle(el).overflowX !== "visible" && el.scrollWidth > el.clientWidth + 1
  const clips = (el) => {
    const {overflowX, overflowY} = getComputedStyle(el)
    return overflowX !== "visible" || overflowY !== "visible"
  }
  // Of such nobody expects that it is the only text at its place.
  const isAbove = (el) => ["DIALOG", "PRE", "TEXTAREA"].includes(el.nodeName)
    || ["sticky", "fixed"].includes(getComputedStyle(el).position)
  const silent = ["SCRIPT", "STYLE", "TEMPLATE", "TITLE", "CAPTION", "OPTION", "TEXTAREA"]

  const found = [], texts = []
  for (const el of deep("*")) {
    const own = [...el.childNodes].filter(n => n.nodeType === Node.TEXT_NODE && n.data.trim())
    const isShown = el.checkVisibility({visibilityProperty: true, opacityProperty: true})
    if (!own.length || silent.includes(el.nodeName) || !isShown) { continue }
    const cutter = above(el, isCut)
    const scrolls = cutter && ["auto", "scroll"].includes(getComputedStyle(cutter).overflowX)
    if (cutter && !scrolls && !above(el, e => e.title)) {
      const isBeyond = el.getBoundingClientRect().right > cutter.getBoundingClientRect().right + 1
      if (cutter === el || isBeyond) { found.push(`cut: ${name(el)} in ${name(cutter)}: ${words(el)}`) }
    }
    const clip = above(el, clips)?.getBoundingClientRect() ?? {left: 0, top: 0, right: 1e6, bottom: 1e6}
    const range = document.createRange()
    for (const node of own) {
      range.selectNodeContents(node)
      for (const whole of range.getClientRects()) {
        // Of what is scrolled out of its box nothing is seen, so it lies over nothing.
        const left = Math.max(whole.left, clip.left), right = Math.min(whole.right, clip.right)
        const top = Math.max(whole.top, clip.top), bottom = Math.min(whole.bottom, clip.bottom)
        if (right - left > 2 && bottom - top > 2) { texts.push({el, r: {left, right, top, bottom}}) }
        if (whole.right > innerWidth + 1 && !cutter) { found.push(`outside: ${name(el)}: ${words(el)}`) }
      }
    }
  }
  const low = texts.slice(0, 2500).filter(({el}) => !above(el, isAbove))
  low.forEach(({el, r}, n) => {
    for (const other of low.slice(n + 1)) {
      const width = Math.min(r.right, other.r.right) - Math.max(r.left, other.r.left)
      const height = Math.min(r.bottom, other.r.bottom) - Math.max(r.top, other.r.top)
      if (width > 3 && height > 4 && el !== other.el) {
        found.push(`over: ${name(el)} “${words(el)}” and ${name(other.el)} “${words(other.el)}”`)
      }
    }
  })
  const wider = document.documentElement.scrollWidth - innerWidth
  if (wider > 0) { found.push(`the page is ${wider} px wider than the window`) }
  return [...new Set(found)].slice(0, 25)
}
