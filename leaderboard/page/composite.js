'use strict';

// One number from several metrics, on scales that were frozen with the release and know nothing of the other entries.

const MAX_WEIGHT = 4;

const scaledMetrics = task => task.metrics.filter(({ name }) => Number.isFinite(board.scales?.[name]?.best));

function weightsOf(task) {
  const given = new Map(state.weights.split(',').map(part => part.split(':')).map(([name, value]) => [name, Number.parseFloat(value)]));
  return new Map(scaledMetrics(task).map(({ name }) => {
    const weight = given.get(name);
    return [name, weight >= 0 && weight <= MAX_WEIGHT ? weight : board.scales[name].weight ?? 1];
  }));
}

// 0 at the scale's worst value, 1 at its best, logarithmic in between where both are positive.
function subscore({ best, worst }, value) {
  if (!Number.isFinite(value)) return 0;
  const logarithmic = best > 0 && worst > 0;
  if (logarithmic && value <= 0) return best < worst ? 1 : 0;
  const place = logarithmic ? Math.log : Number;
  const share = (place(worst) - place(value)) / (place(worst) - place(best));
  return Math.min(1, Math.max(0, share));
}

// Over the metrics that an entry was scored by. The board scores all by all: an entry from before a metric was added lacks it, and
// must not fall because of those that have it. A score that is no number counts as the worst.
function composite(entry, task, weights) {
  const known = [...weights].filter(([name]) => entry.scores?.[name]);
  const total = known.reduce((sum, [, weight]) => sum + weight, 0);
  if (!total) return null;
  const sum = known.map(([name, weight]) => weight * subscore(board.scales[name], scoreAt(entry, name, lastStep(task))?.mean));
  return sum.reduce((a, b) => a + b, 0) / total;
}

function drawWeights() {
  const task = currentTask();
  const weights = weightsOf(task);
  byId('composite-view').hidden = !weights.size;
  byId('weights').replaceChildren(html('div', { class: 'weights' }, ...[...weights].flatMap(([name, weight]) => weightControl(task, name, weight))));
}

function weightControl(task, name, weight) {
  const { best, worst } = board.scales[name];
  const { label } = metricOf(task, name);
  const id = `weight-${name}`;
  const value = html('output', { for: id }, String(weight));
  const slider = html('input', { type: 'range', id, min: 0, max: MAX_WEIGHT, step: 0.25, 'data-metric': name });
  slider.value = weight;
  slider.addEventListener('input', () => {
    value.textContent = slider.value;
    const weights = weightsOf(currentTask()).set(name, Number(slider.value));
    update({ weights: [...weights].map(pair => pair.join(':')).join(',') }, { quiet: true });
  });
  const scale = `0 at ${formatNumber(worst)}, 1 at ${formatNumber(best)}`;
  return [html('label', { for: id }, label), slider, value, html('small', {}, scale)];
}

// The sliders are kept while one of them is dragged.
function refreshWeights(changed) {
  const dragged = document.activeElement?.dataset?.metric !== undefined;
  if (!dragged || changed.includes('task')) drawWeights();
}
