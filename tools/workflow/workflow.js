// Jobs as boxes, from left to right in the order in which they run, and lines for what waits for what. The layout is
// dagre's; a box is a link, and tells in words what its lines show.
import {Graph, layout} from "@dagrejs/dagre"

const WIDTH = 208, HEIGHT = 50, EDGE = 14

const element = (name, attributes = {}, words = "") => {
  const el = document.createElement(name)
  for (const [key, value] of Object.entries(attributes)) { el.setAttribute(key, value) }
  el.textContent = words
  return el
}
const drawn = (name, attributes, parent) => {
  const el = parent.appendChild(document.createElementNS("http://www.w3.org/2000/svg", name))
  for (const [key, value] of Object.entries(attributes)) { el.setAttribute(key, value) }
  return el
}

// A line through points, round where it turns.
function path(points) {
  const [first, ...rest] = points
  const steps = rest.slice(0, -1).map((p, n) => `Q${p.x} ${p.y} ${(p.x + rest[n + 1].x) / 2} ${(p.y + rest[n + 1].y) / 2}`)
  const end = points.at(-1)
  return `M${first.x} ${first.y}${steps.join("")}L${end.x} ${end.y}`
}

function placed({nodes, edges}) {
  const graph = new Graph()
  graph.setGraph({rankdir: "LR", nodesep: 18, ranksep: 64, marginx: EDGE, marginy: EDGE})
  graph.setDefaultEdgeLabel(() => ({}))
  for (const {id} of nodes) { graph.setNode(id, {width: WIDTH, height: HEIGHT}) }
  for (const {from, to} of edges) { graph.setEdge(from, to) }
  layout(graph)
  return graph
}

function box(node, place) {
  const {id, folder, title, words, href, colour, icon, state, isBad} = node
  const el = element("a", {class: `node${isBad ? " bad" : ""}`, href, title: `${id}\n${words}`, "aria-label": `${id}: ${state}; ${words}`})
  el.style.cssText = `left:${place.x - WIDTH / 2}px;top:${place.y - HEIGHT / 2}px;width:${WIDTH}px;height:${HEIGHT}px;--state:${colour}`
  const name = element("span", {class: "name"}, "")
  name.append(element("i", {}, folder), title)
  const how = element("span", {class: "how"})
  const shape = drawn("svg", {viewBox: "0 0 16 16", width: 12, height: 12, "aria-hidden": "true"}, how)
  drawn("path", {d: icon, fill: colour, "fill-rule": "evenodd"}, shape)
  how.append(state)
  el.append(name, how)
  return el
}

function draw(root, {nodes, edges}) {
  const graph = placed({nodes, edges})
  const {width, height} = graph.graph()
  const sheet = element("div", {class: "sheet"})
  sheet.style.cssText = `width:${width}px;height:${height}px`
  const lines = drawn("svg", {width, height, "aria-hidden": "true"}, sheet)
  const head = drawn("marker", {id: "head", viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 7, markerHeight: 7, orient: "auto"},
    drawn("defs", {}, lines))
  drawn("path", {d: "M0 0L8 4L0 8z"}, head)
  for (const {from, to, kind} of edges) {
    const line = {d: path(graph.edge(from, to).points), class: kind, "marker-end": "url(#head)", "data-from": from, "data-to": to}
    drawn("path", line, lines)
  }
  for (const node of nodes) {
    const el = sheet.appendChild(box(node, graph.node(node.id)))
    // What a job has to do with is shown while one points at it.
    const show = (isOn) => lines.querySelectorAll("[data-from]").forEach(line => {
      line.classList.toggle("on", isOn && [line.dataset.from, line.dataset.to].includes(node.id))
    })
    for (const [event, isOn] of [["pointerenter", true], ["focus", true], ["pointerleave", false], ["blur", false]]) {
      el.addEventListener(event, () => show(isOn))
    }
  }
  root.replaceChildren(sheet)
}

export function render({model}) {
  const root = element("div", {class: "workflow", role: "group", "aria-label": "Jobs and what they wait for"})
  const show = () => { if (model.graph.nodes) { draw(root, model.graph) } }
  model.on("graph", show)
  show()
  return root
}
