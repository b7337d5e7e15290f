'use strict';

// The same model on tasks that differ in the number of particles.

// Alike but for the number that ends the name of a configuration, as n20 and n100.
const family = task => JSON.stringify([datasetOf(task).replace(/\d+$/, ''), task.name, task.times]);

function relatedTasks(task) {
  const related = board.tasks.filter(other => family(other) === family(task) && isDrawable(other.num_particles));
  const bySize = new Map(related.map(other => [other.num_particles, other]));
  bySize.set(task.num_particles, task);
  return [...bySize.values()].filter(({ num_particles: n }) => isDrawable(n)).sort((a, b) => a.num_particles - b.num_particles);
}

function scalingValue(task, key, metric) {
  const entry = entryOf(task, key);
  if (!entry) return null;
  return positiveOrNull(state.scaling === 'cost' ? entry.timing?.seconds_per_step : scoreAt(entry, metric, lastStep(task))?.mean);
}

function drawScaling() {
  const task = currentTask();
  const tasks = relatedTasks(task);
  const host = byId('scaling-chart');
  const metric = metricOf(task, rankBy().metric);
  clearCharts(host);
  byId('scaling-view').hidden = tasks.length < 2 || !metric;
  byId('scaling').value = state.scaling;
  if (byId('scaling-view').hidden) return;
  const sizes = tasks.map(other => other.num_particles);
  const lines = shown().map(({ entry, slot }) => ({ entry, slot, values: tasks.map(other => scalingValue(other, keyOf(entry), metric.name)) }))
    .filter(({ values }) => values.filter(isDrawable).length > 1);
  byId('scaling-key').replaceChildren(...lines.map(({ entry, slot, values }) => {
    const exponent = powerLaw(sizes, values);
    return html('span', {}, swatch({ slot }), html('span', { class: 'name' }, labelOf(entry)), Number.isFinite(exponent) ? ` ∝ N^${exponent.toFixed(2)}` : '');
  }));
  const range = logRange(lines.flatMap(({ values }) => values));
  if (!range) {
    host.append(html('p', { class: 'muted' }, 'None of the models drawn was run on more than one of these tasks.'));
    return;
  }
  const label = state.scaling === 'cost' ? stated('Seconds per step') : `${metricLabel(metric)}, last step`;
  makeChart(host, {
    label: `${label} against the number of particles`, height: 320, data: [sizes, ...lines.map(({ values }) => values)],
    series: lines.map(({ slot }) => ({ stroke: colour(`--series-${slot}`), width: 2, spanGaps: true, points: { show: true, size: 8, fill: colour(`--series-${slot}`) } })),
    x: { label: 'Particles', log: true, range: [sizes[0] / 1.3, sizes.at(-1) * 1.3], ticks: sizes },
    y: { label, log: true, range },
    cursor: { points: { show: false } },
  });
}

// The least-squares slope in logarithms.
function powerLaw(sizes, values) {
  const pairs = sizes.map((size, index) => [Math.log(size), Math.log(values[index] ?? NaN)]).filter(([, y]) => Number.isFinite(y));
  if (pairs.length < 2) return NaN;
  const [mx, my] = [0, 1].map(axis => pairs.reduce((sum, pair) => sum + pair[axis], 0) / pairs.length);
  return pairs.reduce((sum, [x, y]) => sum + (x - mx) * (y - my), 0) / pairs.reduce((sum, [x]) => sum + (x - mx) ** 2, 0);
}
