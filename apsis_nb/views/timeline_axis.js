// Ticks of the time axis: on round minutes, hours, days and months of the reader's clock, also where the clocks
// change. `zone` is "local", "utc" or the name of a zone.
const S = 1000, M = 60 * S, H = 60 * M, D = 24 * H
const STEPS = [S, 2 * S, 5 * S, 10 * S, 15 * S, 30 * S, M, 2 * M, 5 * M, 10 * M, 15 * M, 30 * M,
  H, 2 * H, 3 * H, 4 * H, 6 * H, 12 * H, D, 2 * D, 7 * D, 14 * D, 30 * D, 91 * D, 365 * D]
const FIELDS = ["year", "month", "day", "hour", "minute", "second"]
const clock = ["local", "utc"].includes(zone) ? null : new Intl.DateTimeFormat("en-GB", {timeZone: zone, hourCycle: "h23",
  ...Object.fromEntries(FIELDS.map(field => [field, "numeric"]))})
// How far a zone is ahead of UTC at an instant.
const shift = (ms) => {
  if (zone === "utc") { return 0 }
  if (clock === null) { return -new Date(ms).getTimezoneOffset() * M }
  const of = Object.fromEntries(clock.formatToParts(ms).map(({type, value}) => [type, Number(value)]))
  return Date.UTC(of.year, of.month - 1, of.day, of.hour, of.minute, of.second) - Math.floor(ms / S) * S
}
// What the reader's clock shows, as the fields of a UTC date.
const shown = (ms) => new Date(ms + shift(ms))
const at = (y, mo, d) => {
  if (zone === "local") { return new Date(y, mo, d).getTime() }
  const wall = Date.UTC(y, mo, d)
  return wall - shift(wall - shift(wall))
}

function timesBetween(start, end, most) {
  if (!(end > start)) { return [] }
  const step = STEPS.find(s => (end - start) / s <= most) ?? STEPS.at(-1)
  const found = []
  if (step < D) {
    let t = Math.ceil((start + shift(start)) / step) * step - shift(start)
    for (; t <= end; t += step) {
      // After a change of the clocks the nearest round hour of the clock is meant.
      const off = (t + shift(t)) % step
      const round = !off ? t : off <= step / 2 ? t - off : t + step - off
      if (round >= start && round <= end) { found.push(round) }
    }
    return found
  }
  const s = shown(start)
  if (step < 30 * D) {
    const days = step / D
    // Weeks begin on Monday; pairs of days keep their place when the window moves.
    for (let n = 0; ; n++) {
      const t = at(s.getUTCFullYear(), s.getUTCMonth(), s.getUTCDate() + n)
      if (!(t <= end)) { return found }
      const day = Math.round((t + shift(t)) / D)
      if (t >= start && (day + 3) % days === 0) { found.push(t) }
    }
  }
  const months = step < 91 * D ? 1 : step < 365 * D ? 3 : 12
  for (let n = 0; ; n++) {
    const month = s.getUTCMonth() + n
    const t = at(s.getUTCFullYear(), month, 1)
    if (!(t <= end)) { return found }  // also where there is no such date any more
    if (t >= start && month % months === 0) { found.push(t) }
  }
}

const two = (n) => String(n).padStart(2, "0")
const DAYS = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"]
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]

function labelOf(ms, index, all) {
  const d = shown(ms)
  const day = `${DAYS[d.getUTCDay()]} ${d.getUTCDate()} ${MONTHS[d.getUTCMonth()]}`
  const step = all.length > 1 ? all[1] - all[0] : H
  if (step >= 20 * D) { return `${MONTHS[d.getUTCMonth()]}\n${d.getUTCFullYear()}` }
  if (step >= 20 * H) { return index === 0 || d.getUTCDate() <= step / D ? `${day}\n${d.getUTCFullYear()}` : day }
  const seconds = step < M ? `:${two(d.getUTCSeconds())}` : ""
  const time = `${two(d.getUTCHours())}:${two(d.getUTCMinutes())}${seconds}`
  const before = index > 0 ? shown(all[index - 1]).getUTCDate() : null
  return before !== d.getUTCDate() ? `${time}\n${day}` : time
}
