'use strict';

// Errors, invariants and survival against time: one panel a metric, all with one cursor.

const curves = { panels: [], step: 1 };
// Said more plainly by the survival curve.
const NOT_A_CURVE = ['time_to_failure'];

function drawCurves() {
  const task = currentTask();
  const host = byId('panels');
  clearCharts(host);
  const models = shown();
  const metrics = task.metrics.filter(({ name }) => !NOT_A_CURVE.includes(name));
  const all = [...metrics.map(metric => metricPanel(task, metric, models)), survivalPanel(models)];
  const length = all.reduce((most, panel) => Math.max(most, panel.length), 0);
  // One that is empty says so, beside others that are not.
  const panels = length > 1 && models.length ? all : [];
  byId('curves-view').hidden = !task.entries.length || task.horizon === 1;
  byId('cursor').max = Math.max(1, length);
  byId('cursor').disabled = !length;
  curves.panels = panels.map(panel => drawPanel(host, task, panel, length));
  if (!panels.length) host.append(html('p', { class: 'muted' }, 'There is no curve to draw.'));
  drawLegend(models);
  moveCursor(Math.min(curves.step, length || 1));
}

function metricPanel(task, metric, models) {
  const lines = models.map(({ entry, slot }) => {
    const { curves: means, bands } = detailOf(entry);
    const [low, high] = listOf(bands?.[metric.name]);
    return { label: labelOf(entry), slot, mean: listOf(means?.[metric.name]), low: listOf(low), high: listOf(high) };
  });
  const floor = { label: 'label error', mean: listOf(task.floor_curves?.[metric.name]), low: [], high: [], floor: true };
  const drawn = floor.mean.length ? [...lines, floor] : lines;
  const log = metric.better !== 'higher';
  return lengthOf(drawn, { title: metricLabel(metric), log });
}

function survivalPanel(models) {
  const lines = models.map(({ entry, slot }) => ({ label: labelOf(entry), slot, mean: listOf(detailOf(entry).survival), low: [], high: [] }));
  return lengthOf(lines, { title: 'Survival: share of roll-outs still within the threshold', log: false, range: [0, 1.02] });
}

function lengthOf(lines, more) {
  return { ...more, lines, length: Math.max(0, ...lines.map(({ mean }) => mean.length)) };
}

function drawPanel(host, task, panel, length) {
  const { lines, log, title } = panel;
  const valid = log ? positiveOrNull : finiteOrNull;
  // A band may reach down to zero, where a logarithmic axis has no place: the means say how far down to look.
  const range = panel.range ?? (log ? logRange(lines.flatMap(({ mean, high }) => [...mean, ...high])) : linearRange(lines.flatMap(({ mean, high }) => [...mean, ...high])));
  const readout = html('p', { class: 'readout' });
  const chart = html('div', { class: 'chart' });
  host.append(html('div', {}, html('h3', {}, title), chart, readout));
  const isKnown = lines.some(({ mean, floor }) => mean.length && !floor);
  if (!range || !isKnown) {
    chart.append(html('p', { class: 'muted' }, isKnown ? 'There is no positive value to draw.' : 'None of the models drawn was scored by this.'));
    return { title, lines: [], readout, plot: null };
  }
  const column = (values, edge) => Array.from({ length }, (_, index) => valid(values[index]) ?? (edge && Number.isFinite(values[index]) ? range[0] : null));
  const times = Array.from({ length }, (_, index) => timeAt(task, index + 1));
  const [data, series, bands] = [[times], [], []];
  for (const line of lines) {
    const stroke = colour(line.floor ? '--muted' : `--series-${line.slot}`);
    data.push(column(line.mean));
    series.push({ stroke, width: line.floor ? 1.5 : 2, dash: line.floor ? [2, 4] : undefined, points: { show: false } });
    if (!line.low.length || !line.high.length) continue;
    data.push(column(line.high, true), column(line.low, true));
    const edge = { stroke: null, width: 0, points: { show: false } };
    series.push(edge, { ...edge });
    bands.push({ series: [series.length - 1, series.length], fill: colour(`--series-${line.slot}`, 0.16) });
  }
  const plot = makeChart(chart, {
    label: title, data, series, bands, height: 250,
    x: { label: `Time${inUnit(task.time_unit)}`, range: [0, times.at(-1)] },
    y: { label: '', range, log },
    cursor: { points: { show: false } },
    hooks: { setCursor: [self => { if (self.cursor.idx !== null && self.cursor.left >= 0) moveCursor(self.cursor.idx + 1, self); }] },
  });
  return { title, lines, readout, plot, times };
}

function swatch(line) {
  return html('span', { class: line.floor ? 'swatch series-7' : `swatch series-${line.slot}`, 'aria-hidden': 'true' });
}

function drawLegend(models) {
  byId('legend').replaceChildren(...models.map(({ entry, slot }) => {
    const node = button('', () => toggleShown(entry), { 'aria-label': `Take ${labelOf(entry)} out of the charts` });
    node.append(swatch({ slot }), html('span', { class: 'name' }, labelOf(entry)), html('span', { class: 'muted', 'aria-hidden': 'true' }, '×'));
    node.disabled = entry === currentModel();
    return node;
  }));
  if (!models.length) byId('legend').append(html('span', { class: 'muted' }, 'Tick entries in the table to draw them.'));
}

function moveCursor(step, origin) {
  curves.step = step;
  const when = `t = ${timeText(currentTask(), timeAt(currentTask(), step))} (step ${step})`;
  byId('cursor').value = step;
  byId('cursor').setAttribute('aria-valuetext', when);
  byId('cursor-text').textContent = when;
  for (const { title, lines, readout, plot, times } of curves.panels) {
    const values = lines.map(line => [line, formatNumber(line.mean[step - 1])]);
    readout.replaceChildren(...values.map(([line, text]) => html('span', { title: line.label }, swatch(line), text)));
    if (!plot) continue;
    plot.root.setAttribute('aria-label', `${title}. At ${when}: ${values.map(([line, text]) => `${line.label} ${text}`).join('; ')}.`);
    if (plot !== origin) plot.setCursor({ left: plot.valToPos(times[step - 1], 'x'), top: 1 }, false);
  }
}
