// The editor of job files in a notebook cell: YAML in colours, marks where the server finds faults, keys as one
// types. It asks no network. The Python side is apsis_nb/widgets/editor.py.

import { autocompletion, closeBrackets, closeBracketsKeymap, completionKeymap } from "@codemirror/autocomplete"
import { defaultKeymap, history, historyKeymap, indentWithTab } from "@codemirror/commands"
import { yaml } from "@codemirror/lang-yaml"
import { HighlightStyle, bracketMatching, indentOnInput, indentUnit, syntaxHighlighting } from "@codemirror/language"
import { lintGutter, lintKeymap, setDiagnostics } from "@codemirror/lint"
import { highlightSelectionMatches, searchKeymap } from "@codemirror/search"
import { Compartment, EditorState } from "@codemirror/state"
import {
  EditorView, drawSelection, highlightActiveLine, highlightActiveLineGutter, keymap, lineNumbers,
} from "@codemirror/view"
import { tags } from "@lezer/highlight"

const PAUSE_MS = 250 // after the last key, until Python hears of it

// Each with a contrast of 4.5 at least on its background.
const COLOURS = {
  light: {
    back: "#ffffff", text: "#191c22", line: "#e2e5ea", dim: "#667085", select: "#cfe0ff", active: "#f5f7fb",
    key: "#1d4ed8", string: "#0a7a3f", number: "#a3400d", comment: "#667085", word: "#8a2be2",
  },
  dark: {
    back: "#17191e", text: "#e6e8ed", line: "#2b2f37", dim: "#8b93a3", select: "#2c4a86", active: "#1e2128",
    key: "#86a9ff", string: "#6fd39a", number: "#f0a475", comment: "#8b93a3", word: "#c9a2ff",
  },
}

function look(c, dark) {
  const theme = EditorView.theme({
    "&": {
      backgroundColor: c.back, color: c.text, border: `1px solid ${c.line}`, borderRadius: "6px", fontSize: "13px",
    },
    "&.cm-focused": { outline: `2px solid ${c.key}`, outlineOffset: "-1px" },
    ".cm-scroller": { fontFamily: "ui-monospace, SFMono-Regular, Menlo, monospace", lineHeight: "1.5", overflow: "auto" },
    ".cm-content": { caretColor: c.text, padding: "8px 0" },
    ".cm-gutters": { backgroundColor: c.back, color: c.dim, border: "none", borderRight: `1px solid ${c.line}` },
    ".cm-activeLine, .cm-activeLineGutter": { backgroundColor: c.active },
    ".cm-cursor": { borderLeftColor: c.text },
    "&.cm-focused .cm-selectionBackground, .cm-selectionBackground, ::selection": { backgroundColor: `${c.select} !important` },
    ".cm-tooltip": { backgroundColor: c.back, color: c.text, border: `1px solid ${c.line}`, borderRadius: "6px" },
    ".cm-tooltip-autocomplete ul li[aria-selected]": { backgroundColor: c.select, color: c.text },
    ".cm-completionDetail": { color: c.dim, fontStyle: "normal", marginLeft: "1em" },
    ".cm-diagnostic": { whiteSpace: "pre-wrap", maxWidth: "60ch" },
    ".cm-panels": { backgroundColor: c.active, color: c.text },
  }, { dark })
  const colours = HighlightStyle.define([
    { tag: [tags.propertyName, tags.definition(tags.propertyName)], color: c.key },
    { tag: [tags.string, tags.special(tags.string)], color: c.string },
    { tag: [tags.number], color: c.number },
    { tag: [tags.bool, tags.null, tags.keyword, tags.atom], color: c.word },
    { tag: [tags.comment, tags.lineComment], color: c.comment, fontStyle: "italic" },
  ])
  return [theme, syntaxHighlighting(colours)]
}

// JupyterLab, VS Code and a page each say in their own way what they look like; the paper itself says it to all.
function isDark(el) {
  for (let at = el; at; at = at.parentElement ?? at.getRootNode()?.host) {
    const found = getComputedStyle(at).backgroundColor.match(/[\d.]+/g)?.map(Number)
    if (found && (found.length < 4 || found[3] > 0.5)) {
      return 0.299 * found[0] + 0.587 * found[1] + 0.114 * found[2] < 128
    }
  }
  return matchMedia("(prefers-color-scheme: dark)").matches
}

// The keys that lead to a line: `schedule.type` within `- type: daily` below `schedule:`.
function pathAt(doc, number) {
  const path = []
  let depth = Infinity
  for (let n = number; n >= 1; n--) {
    const text = doc.line(n).text
    const found = text.match(/^(\s*)((?:- )*)([\w.-]+)\s*:/)
    if (!found) { continue }
    const indent = found[1].length + found[2].length
    if (n === number) { depth = indent; path.unshift(found[3]); continue }
    if (depth === Infinity) { depth = doc.line(number).text.match(/^[\s-]*/)[0].length }
    if (indent < depth) { path.unshift(found[3]); depth = indent }
    if (depth === 0) { break }
  }
  return path
}

function completer(model) {
  return (context) => {
    const line = context.state.doc.lineAt(context.pos)
    const before = line.text.slice(0, context.pos - line.from)
    const words = model.get("words")
    const value = before.match(/^[\s-]*([\w.-]+)\s*:\s+([\w./-]*)$/)
    if (value) {
      const path = pathAt(context.state.doc, line.number).join(".")
      const options = words[`${path}:`]
      return options ? { from: context.pos - value[2].length, options: options.map(([label, detail]) => ({ label, detail, type: "enum" })) } : null
    }
    const key = before.match(/^([\s-]*)([\w.-]*)$/)
    if (!key || (!key[2] && !context.explicit)) { return null }
    // The line itself has no key yet, so its parents are those of its indentation.
    const parents = []
    let depth = key[1].length
    for (let n = line.number - 1; n >= 1 && depth > 0; n--) {
      const found = context.state.doc.line(n).text.match(/^(\s*)((?:- )*)([\w.-]+)\s*:/)
      if (found && found[1].length + found[2].length < depth) {
        parents.unshift(found[3])
        depth = found[1].length + found[2].length
      }
    }
    const options = words[parents.join(".")]
    return options ? {
      from: context.pos - key[2].length,
      options: options.map(([label, detail]) => ({ label, detail, type: "property", apply: `${label}: ` })),
    } : null
  }
}

function marks(state, told) {
  return told.map(({ line, col, message, level }) => {
    const at = state.doc.line(Math.min(Math.max(line ?? 1, 1), state.doc.lines))
    const from = Math.min(at.from + Math.max((col ?? 1) - 1, 0), at.to)
    const word = state.doc.sliceString(from, at.to).match(/^[^\s:#,]+/)
    return { from, to: word ? from + word[0].length : at.to, message, severity: level === "warning" ? "warning" : "error" }
  })
}

function render({ model, el }) {
  const theme = new Compartment(), writable = new Compartment()
  let dark = isDark(el), timer = null
  const tell = () => {
    clearTimeout(timer)
    timer = null
    model.set("value", view.state.doc.toString())
    model.save_changes()
  }
  const view = new EditorView({
    parent: el,
    state: EditorState.create({
      doc: model.get("value"),
      extensions: [
        lineNumbers(), highlightActiveLine(), highlightActiveLineGutter(), drawSelection(), history(), indentOnInput(),
        bracketMatching(), closeBrackets(), highlightSelectionMatches(), indentUnit.of("  "), yaml(), lintGutter(),
        autocompletion({ override: [completer(model)] }),
        // Escape, then Tab, leaves the editor: whoever has no mouse must not be caught.
        keymap.of([
          { key: "Mod-s", run: () => { tell(); model.send({ kind: "save" }); return true }, preventDefault: true },
          ...closeBracketsKeymap, ...defaultKeymap, ...searchKeymap, ...historyKeymap, ...completionKeymap, ...lintKeymap,
          indentWithTab,
        ]),
        EditorView.contentAttributes.of({ "aria-label": model.get("label"), spellcheck: "false" }),
        theme.of(look(dark ? COLOURS.dark : COLOURS.light, dark)),
        writable.of(EditorState.readOnly.of(model.get("read_only"))),
        EditorView.updateListener.of((update) => {
          if (update.docChanged && !update.transactions.some((tr) => tr.isUserEvent("set"))) {
            clearTimeout(timer)
            timer = setTimeout(tell, PAUSE_MS)
          }
        }),
      ],
    }),
  })
  view.dom.style.height = model.get("height")
  // Jupyter's own shortcuts are not for what is typed here.
  el.addEventListener("keydown", (event) => event.stopPropagation())

  const paint = () => {
    if (isDark(el) !== dark) {
      dark = !dark
      view.dispatch({ effects: theme.reconfigure(look(dark ? COLOURS.dark : COLOURS.light, dark)) })
    }
  }
  paint()
  const seen = new MutationObserver(paint)
  seen.observe(document.body, { attributes: true })
  seen.observe(document.documentElement, { attributes: true })
  const shown = requestAnimationFrame(paint) // only now it has a place, and with it a background

  const take = () => {
    const text = model.get("value")
    if (timer === null && text !== view.state.doc.toString()) {
      view.dispatch({ changes: { from: 0, to: view.state.doc.length, insert: text }, userEvent: "set" })
    }
  }
  const mark = () => view.dispatch(setDiagnostics(view.state, marks(view.state, model.get("faults"))))
  const lock = () => view.dispatch({ effects: writable.reconfigure(EditorState.readOnly.of(model.get("read_only"))) })
  model.on("change:value", take)
  model.on("change:faults", mark)
  model.on("change:read_only", lock)
  mark()
  return () => {
    model.off("change:value", take)
    model.off("change:faults", mark)
    model.off("change:read_only", lock)
    seen.disconnect()
    cancelAnimationFrame(shown)
    clearTimeout(timer)
    view.destroy()
  }
}

export default { render }
