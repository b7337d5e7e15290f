'use strict';

// Draws particles in a plane, in a periodic box or in the open.

const TRAIL = 8;

// An open axis takes its bounds from the truth alone, as a prediction that flies away would shrink everything else.
function sceneOf({ box, truth }, axes) {
  const isPoint = point => Array.isArray(point) && axes.every(axis => Number.isFinite(point[axis]));
  const points = truth.flat().filter(isPoint);
  const periods = axes.map(axis => (box?.[axis] > 0 && Number.isFinite(box[axis]) ? box[axis] : null));
  const bounds = periods.map((period, index) => {
    const values = points.map(point => point[axes[index]]);
    return period ? [-period / 2, period / 2] : [values.reduce((a, b) => Math.min(a, b), Infinity), values.reduce((a, b) => Math.max(a, b), -Infinity)];
  });
  if (!bounds.flat().every(Number.isFinite)) bounds.fill([-1, 1]);
  const extent = Math.max(...bounds.map(([low, high]) => high - low)) || 1;
  const span = extent * (periods.every(Boolean) ? 1.06 : 1.4);
  const centre = bounds.map(([low, high]) => (low + high) / 2);
  const area = bounds.map((bound, index) => (periods[index] ? bound : [centre[index] - span / 2, centre[index] + span / 2]));
  const flat = point => (isPoint(point) ? axes.map(axis => point[axis]) : null);
  return { periods, span, centre, area, flat };
}

function wrapPoint({ periods }, point) {
  return periods.map((period, axis) => (period ? point[axis] - period * Math.floor(point[axis] / period + 0.5) : point[axis]));
}

function shortestWay(periods, from, to) {
  return from.map((x, axis) => {
    const way = to[axis] - x;
    const period = periods[axis];
    return period > 0 && Number.isFinite(period) ? way - period * Math.round(way / period) : way;
  });
}

// In all dimensions, whatever the plane.
function positionError(box, truth, prediction) {
  const periods = listOf(box);
  const finite = point => listOf(point).length > 0 && point.every(Number.isFinite);
  if (!truth.length || !truth.every((point, index) => finite(point) && finite(prediction?.[index]))) return NaN;
  const squares = truth.map((point, index) => shortestWay(periods, point, prediction[index]).reduce((sum, way) => sum + way ** 2, 0));
  return Math.sqrt(squares.reduce((sum, square) => sum + square, 0) / squares.length);
}

function drawScene(canvas, scene, truth, prediction, frame, hue) {
  const size = canvas.clientWidth;
  if (!size) return;
  canvas.width = canvas.height = Math.round(size * devicePixelRatio);
  const context = canvas.getContext('2d');
  context.scale(devicePixelRatio, devicePixelRatio);
  const place = ([x, y]) => [size / 2 + (x - scene.centre[0]) / scene.span * size, size / 2 - (y - scene.centre[1]) / scene.span * size];
  const pen = { context, place, scene };
  const [ink, edge] = [colour('--ink'), colour('--line')];
  const flatten = frames => frames.slice(Math.max(0, frame - TRAIL), frame + 1).map(points => points.map(scene.flat));
  const [trueFrames, guessed] = [flatten(truth), flatten(prediction)];

  context.save();
  clipToArea(pen, edge);
  drawTrail(pen, trueFrames, ink);
  drawTrail(pen, guessed, hue);
  drawWays(pen, trueFrames.at(-1), guessed.at(-1), ink, 0.7);
  context.fillStyle = hue;
  context.fill(discs(pen, guessed.at(-1), 4));
  context.restore();
  context.strokeStyle = ink;
  context.lineWidth = 1.4;
  context.stroke(discs(pen, trueFrames.at(-1), 6.5));
}

function clipToArea({ context, place, scene }, edge) {
  const [[west, east], [south, north]] = scene.area;
  const [left, top] = place([west, north]);
  const [right, bottom] = place([east, south]);
  const path = new Path2D();
  path.rect(left, top, right - left, bottom - top);
  context.strokeStyle = edge;
  context.stroke(path);
  context.clip(path);
}

function drawTrail(pen, frames, hue) {
  for (let index = 1; index < frames.length; index += 1) {
    drawWays(pen, frames[index - 1], frames[index], hue, 0.5 * index / frames.length);
  }
}

function drawWays({ context, place, scene }, starts, ends, hue, alpha) {
  const path = new Path2D();
  starts.forEach((start, index) => {
    const end = ends[index];
    if (!start || !end) return;
    const way = shortestWay(scene.periods, start, end);
    const [from, to] = [wrapPoint(scene, start), wrapPoint(scene, end)];
    // Drawn from either end: where the way crosses the edge of the box, each side shows its own half.
    for (const [a, b] of [[from, from.map((x, axis) => x + way[axis])], [to.map((x, axis) => x - way[axis]), to]]) {
      path.moveTo(...place(a));
      path.lineTo(...place(b));
    }
  });
  context.globalAlpha = alpha;
  context.strokeStyle = hue;
  context.stroke(path);
  context.globalAlpha = 1;
}

function discs({ place, scene }, points, radius) {
  const path = new Path2D();
  for (const point of points.filter(Boolean)) {
    const [x, y] = place(wrapPoint(scene, point));
    path.moveTo(x + radius, y);
    path.arc(x, y, radius, 0, 2 * Math.PI);
  }
  return path;
}
