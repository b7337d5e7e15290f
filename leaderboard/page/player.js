'use strict';

// A model's roll-out over the truth, and beside it what leapfrog makes of the same time on the clock.

const FRAMES_PER_SECOND = 15;
const PLANES = { xy: [0, 1], xz: [0, 2], yz: [1, 2] };
const player = { entry: null, rollouts: [], rollout: null, stages: [], frame: Infinity, playing: false, shownAt: 0, tick: 0 };

function drawPlayer() {
  setPlaying(false);
  const task = currentTask();
  const withMotion = task.entries.filter(({ has_preview: has }) => has);
  const order = [...withMotion].sort((a, b) => compare(rankValue(a, rankBy()), rankValue(b, rankBy())));
  const model = currentModel();
  byId('player-entry').hidden = Boolean(model);
  fillSelect(byId('entry'), order.map(entry => [keyOf(entry), labelOf(entry)]), player.entry && withMotion.includes(player.entry) ? keyOf(player.entry) : undefined);
  selectEntry(model ?? entryOf(task, byId('entry').value));
}

function selectEntry(entry) {
  player.entry = entry ?? null;
  player.rollouts = rolloutsOf(entry);
  fillSelect(byId('rollout'), player.rollouts.map(({ label }, index) => [index, label]), 0);
  selectRollout(0);
}

function selectRollout(index) {
  const rollout = player.rollouts[index];
  player.rollout = rollout ?? null;
  byId('stage').hidden = !rollout;
  byId('no-preview').hidden = Boolean(rollout);
  byId('rollout').disabled = player.rollouts.length < 2;
  if (!rollout) {
    setPlaying(false);
    return;
  }
  byId('plane-chooser').hidden = !(listOf(rollout.truth[0]?.[0]).length > 2);
  player.scene = sceneOf(rollout, byId('plane-chooser').hidden ? PLANES.xy : PLANES[byId('plane').value]);
  player.stages = [
    makeStage(labelOf(player.entry), rollout.prediction, '--series-1'),
    ...(listOf(rollout.leapfrog).length >= rollout.frames ? [makeStage('Leapfrog at equal cost', rollout.leapfrog, '--series-0')] : []),
  ];
  byId('stages').replaceChildren(...player.stages.map(({ figure }) => figure));
  byId('no-leapfrog').hidden = player.stages.length > 1;
  byId('no-leapfrog').textContent = rollout.isWorst
    ? 'What leapfrog makes of the same time is shown beside the first trajectory alone.'
    : 'Leapfrog at equal cost is not shown: this model was not timed, or the law of motion is not known.';
  byId('frame').max = rollout.frames - 1;
  // The last frame says most while nothing moves; Play starts from the first.
  showFrame(Math.min(player.frame, rollout.frames - 1));
}

function playRollout(index) {
  byId('rollout').value = index;
  selectRollout(index);
  byId('player-view').scrollIntoView();
  showFrame(0);
  setPlaying(true);
  byId('play').focus({ preventScroll: true });
}

function makeStage(label, frames, hue) {
  const canvas = html('canvas', { role: 'img', 'aria-label': label });
  const readout = html('span', { class: 'numbers muted' });
  return { label, frames, hue, canvas, readout, figure: html('figure', {}, canvas, html('figcaption', {}, html('span', { class: 'name' }, label), ' ', readout)) };
}

function showFrame(frame) {
  const { rollout, stages } = player;
  player.frame = frame;
  const when = `t = ${timeText(currentTask(), rollout.times[frame])}`;
  for (const stage of stages) {
    const error = positionError(rollout.box, rollout.truth[frame], stage.frames[frame]);
    stage.readout.textContent = `position RMSE ${Number.isFinite(error) ? formatNumber(error) : 'not finite'}`;
    stage.canvas.setAttribute('aria-label', `True and predicted positions, ${stage.label}, ${when}: ${stage.readout.textContent}`);
  }
  byId('frame').value = frame;
  byId('frame').setAttribute('aria-valuetext', [when, ...stages.map(({ label, readout }) => `${label} ${readout.textContent}`)].join(', '));
  byId('frame-text').textContent = when;
  drawFrame();
}

function drawFrame() {
  if (!player.rollout) return;
  for (const { canvas, frames, hue } of player.stages) {
    drawScene(canvas, player.scene, player.rollout.truth, frames, player.frame, colour(hue));
  }
}

function setPlaying(playing) {
  cancelAnimationFrame(player.tick);
  player.playing = playing;
  byId('play').textContent = playing ? 'Pause' : 'Play';
  if (!playing) return;
  if (player.frame >= player.rollout.frames - 1) showFrame(0);
  player.shownAt = performance.now();
  player.tick = requestAnimationFrame(tick);
}

function tick(now) {
  if (player.frame >= player.rollout.frames - 1) {
    setPlaying(false);
    return;
  }
  if (now - player.shownAt >= 1000 / (FRAMES_PER_SECOND * byId('speed').value)) {
    player.shownAt = now;
    showFrame(player.frame + 1);
  }
  player.tick = requestAnimationFrame(tick);
}

function listenToPlayer() {
  byId('entry').addEventListener('change', event => {
    setPlaying(false);
    selectEntry(entryOf(currentTask(), event.target.value));
  });
  byId('rollout').addEventListener('change', event => {
    setPlaying(false);
    selectRollout(Number(event.target.value));
  });
  byId('plane').addEventListener('change', () => selectRollout(Number(byId('rollout').value)));
  byId('play').addEventListener('click', () => setPlaying(!player.playing));
  byId('frame').addEventListener('input', event => {
    setPlaying(false);
    showFrame(Number(event.target.value));
  });
}
