'use strict';

// What an error costs. The line joins what classical integrators reach; a learned model has to come below it.

const front = { points: [], line: [], plot: null, index: -1 };
const KINDS = [
  { division: 'classical', label: 'classical', colour: '--series-0', shape: 'square' },
  { division: 'learned-closed', label: 'learned, closed', colour: '--series-1', shape: 'circle' },
  { division: 'learned-open', label: 'learned, open', colour: '--series-2', shape: 'diamond' },
  { division: null, label: 'other', colour: '--series-3', shape: 'circle' },
];
const kindOf = entry => KINDS.find(({ division }) => division === entry.division) ?? KINDS.at(-1);

function frontPoints(task, by) {
  return task.entries.filter(entry => passes(entry) && !isRejected(entry))
    .map(entry => ({ entry, cost: entry.timing?.seconds_per_step, score: scoreAt(entry, by.metric, by.step) }))
    .filter(({ cost, score }) => isDrawable(cost) && isDrawable(score?.mean))
    .sort((a, b) => a.cost - b.cost);
}

// The best classical error at each cost or less.
function integratorFront(points, metric) {
  const line = [];
  for (const point of points.filter(({ entry }) => entry.division === 'classical')) {
    if (!line.length || isBetter(metric, point.score.mean, line.at(-1).score.mean)) line.push(point);
  }
  return line;
}

function drawFront() {
  const task = currentTask();
  const by = rankBy();
  const metric = metricOf(task, by.metric);
  clearCharts(byId('front'));
  byId('front-view').hidden = Boolean(currentModel());
  front.points = metric ? frontPoints(task, by) : [];
  front.line = integratorFront(front.points, metric);
  front.plot = null;
  for (const id of ['front-cursor', 'front-open']) byId(id).disabled = !front.points.length;
  byId('front-cursor').max = Math.max(0, front.points.length - 1);
  byId('front-key').replaceChildren(...KINDS.filter(kind => front.points.some(({ entry }) => kindOf(entry) === kind)).map(kindKey));
  byId('front-text').textContent = '';
  if (currentModel()) return;
  if (!front.points.length) {
    byId('front-about').textContent = 'No entry has both a time and this score.';
    return;
  }
  byId('front-about').textContent = `${metric.label} @${by.step} against seconds per step, as stated by the authors.`;
  if (front.line.length) byId('front-about').textContent += ` Line: the best that an integrator reaches at that cost; a learned model earns its keep ${metric.better === 'higher' ? 'above' : 'below'} it.`;
  const absent = task.entries.filter(passes).length - front.points.length;
  if (absent) byId('front-about').textContent += ` Not drawn: ${formatCount(absent)} without a time, without a score above zero, or rejected.`;
  plotFront(task, by, metric);
  showPoint(Math.min(Math.max(0, front.index), front.points.length - 1));
}

function kindKey(kind) {
  const icon = svg('svg', { class: 'mark', viewBox: '-6 -6 12 12', 'aria-hidden': 'true' });
  const path = { square: 'M-4-4H4V4H-4Z', circle: 'M-4.5 0a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0-9 0', diamond: 'M0-5.5L5.5 0L0 5.5L-5.5 0Z' };
  icon.append(svg('path', { d: path[kind.shape], fill: colour(kind.colour) }));
  return html('span', {}, icon, kind.label);
}

function plotFront(task, by, metric) {
  const costs = front.points.map(({ cost }) => cost);
  const values = front.points.flatMap(({ score }) => [score.mean, score.low, score.high]);
  const range = logRange(costs);
  const reached = new Map(front.line.map(point => [point, point.score.mean]));
  const end = front.line.at(-1)?.score.mean ?? null;
  // The last level goes on to the right edge: more time buys nothing more.
  const data = [[...costs, range[1]], [...front.points.map(point => reached.get(point) ?? null), end]];
  front.plot = makeChart(byId('front'), {
    label: byId('front-about').textContent, data, height: 380,
    series: [{ stroke: colour('--series-0'), width: 2, dash: [6, 4], spanGaps: true, paths: uPlot.paths.stepped({ align: 1 }), points: { show: false } }],
    x: { label: stated('Seconds per step'), range, log: true },
    y: { label: scoreLabel(metric, by.step), range: logRange(values), log: true },
    cursor: { x: false, points: { show: false } },
    hooks: { draw: [drawPoints], setCursor: [self => { if (self.cursor.left >= 0) showPoint(nearestPoint(self)); }] },
  });
  front.plot.over.addEventListener('click', openPoint);
}

function placeOf(plot, { cost, score }, canvas) {
  return [plot.valToPos(cost, 'x', canvas), plot.valToPos(score.mean, 'y', canvas)];
}

function nearestPoint(plot) {
  const distances = front.points.map(point => {
    const [x, y] = placeOf(plot, point, false);
    return Math.hypot(x - plot.cursor.left, y - plot.cursor.top);
  });
  return distances.indexOf(Math.min(...distances));
}

function drawPoints(plot) {
  const { ctx } = plot;
  const unit = devicePixelRatio;
  ctx.save();
  ctx.setLineDash([]);
  const taken = front.points.map(point => placeOf(plot, point, true)).map(([x, y]) => [x - 5 * unit, y - 5 * unit, 10 * unit, 10 * unit]);
  front.points.forEach((point, index) => {
    const kind = kindOf(point.entry);
    const [x, y] = placeOf(plot, point, true);
    ctx.fillStyle = ctx.strokeStyle = colour(kind.colour);
    ctx.lineWidth = unit;
    if (isDrawable(point.score.low) && isDrawable(point.score.high)) {
      ctx.stroke(new Path2D(`M${x} ${plot.valToPos(point.score.low, 'y', true)}V${plot.valToPos(point.score.high, 'y', true)}`));
    }
    ctx.fill(marker(kind.shape, x, y, 4.5 * unit));
    if (index !== front.index) return;
    ctx.strokeStyle = colour('--ink');
    ctx.lineWidth = 1.5 * unit;
    ctx.stroke(marker('circle', x, y, 9 * unit));
  });
  ctx.font = `${12 * unit}px system-ui, sans-serif`;
  ctx.fillStyle = colour('--ink');
  for (const point of front.points) drawName(plot, point, taken, unit);
  ctx.restore();
}

function marker(shape, x, y, size) {
  const path = new Path2D();
  if (shape === 'square') path.rect(x - size, y - size, 2 * size, 2 * size);
  else if (shape === 'diamond') path.addPath(new Path2D(`M${x} ${y - size * 1.3}L${x + size * 1.3} ${y}L${x} ${y + size * 1.3}L${x - size * 1.3} ${y}Z`));
  else path.arc(x, y, size, 0, 2 * Math.PI);
  return path;
}

// A name is written where it hides nothing, else left to the cursor.
function drawName(plot, point, taken, unit) {
  const text = (point.entry.version === '1' ? String(point.entry.name ?? point.entry.key) : labelOf(point.entry)).slice(0, 40);
  const [x, y] = placeOf(plot, point, true);
  const width = plot.ctx.measureText(text).width;
  const height = 12 * unit;
  const places = [[x + 8 * unit, y - height / 2], [x - 8 * unit - width, y - height / 2], [x - width / 2, y - 9 * unit - height], [x - width / 2, y + 9 * unit]];
  const { left, top, width: wide, height: high } = plot.bbox;
  const free = places.find(([a, b]) => a >= left && a + width <= left + wide && b >= top && b + height <= top + high
    && taken.every(([c, d, w, h]) => a + width < c || a > c + w || b + height < d || b > d + h));
  if (!free) return;
  taken.push([...free, width, height]);
  plot.ctx.textBaseline = 'top';
  plot.ctx.textAlign = 'left';
  // The line passes behind.
  plot.ctx.strokeStyle = colour('--panel');
  plot.ctx.lineWidth = 4 * unit;
  plot.ctx.strokeText(text, ...free);
  plot.ctx.fillText(text, ...free);
}

function showPoint(index) {
  if (!front.points[index]) return;
  const moved = front.index !== index;
  front.index = index;
  const point = front.points[index];
  const text = `${labelOf(point.entry)}: ${formatNumber(point.cost)} s a step, ${formatSpread(point.score)}${againstFront(point)}`;
  byId('front-cursor').value = index;
  byId('front-cursor').setAttribute('aria-valuetext', text);
  byId('front-text').textContent = text;
  if (moved) front.plot?.redraw(false, false);
}

function againstFront({ entry, cost, score }) {
  if (entry.division === 'classical' || !front.line.length) return '';
  const rival = front.line.findLast(point => point.cost <= cost);
  if (!rival) return '; cheaper than every integrator here';
  const better = isBetter(metricOf(currentTask(), rankBy().metric), score.mean, rival.score.mean);
  const ratio = formatNumber(score.mean / rival.score.mean, 2);
  return `; ${ratio}× of ${labelOf(rival.entry)}, ${better ? 'better than' : 'no better than'} integrators at that cost`;
}

function openPoint() {
  const point = front.points[front.index];
  if (point) update({ model: keyOf(point.entry) });
}

function listenToFront() {
  byId('front-cursor').addEventListener('input', event => showPoint(Number(event.target.value)));
  byId('front-open').addEventListener('click', openPoint);
}
