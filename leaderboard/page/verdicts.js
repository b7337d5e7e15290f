'use strict';

// What the board says of an entry as a whole: how far it was checked, and what was found.

const TIERS = {
  claimed: 'what authors say of their own model, as typed by them. Claims are shown beside our numbers and rank nobody.',
  're-scored': 'the board has recomputed every score from the uploaded trajectories.',
  reproduced: 're-scored; and the board has run the uploaded models itself, shut in, and got the uploaded first step and scores, up to rounding.',
};
const VERDICTS = {
  reject: ['rejected', 'bad', 'kept for the record, without a rank, below all others and out of the cost chart.'],
  unranked: ['unranked', 'warn', 'shown without a rank.'],
  redivision: ['moved', 'warn', 'ranked in another division than it was entered in.'],
  flag: ['flagged', 'warn', 'something to know; it changes neither rank nor division.'],
};

const isRejected = entry => listOf(entry.findings).some(({ verdict }) => verdict === 'reject');

function tierBadge(entry) {
  const good = entry.tier && entry.tier !== 'claimed';
  return html('span', { class: good ? 'badge good' : 'badge', title: Object.hasOwn(TIERS, entry.tier) ? `${entry.tier}: ${TIERS[entry.tier]}` : null }, entry.tier || 'no tier');
}

function findingBadge({ kind, verdict, reason }) {
  const style = Object.hasOwn(VERDICTS, verdict) ? VERDICTS[verdict][1] : 'warn';
  return html('span', { class: `badge ${style}`, title: reason }, `${kind ?? 'finding'}: ${verdict ?? 'no verdict'}`);
}

function findingsOf(entry) {
  const found = listOf(entry.findings).map(finding => html('li', {}, findingBadge(finding), ' ', finding.reason ?? ''));
  if (entry.agrees === false) found.push(html('li', {}, html('span', { class: 'badge warn' }, 'claims'), ' re-scoring does not confirm all claimed values; ⚠ marks those below'));
  return found.length ? [html('h3', {}, 'Findings'), html('ul', { class: isRejected(entry) ? 'findings bad' : 'findings' }, ...found)] : [];
}

function drawLegendOfVerdicts() {
  const rows = [
    ...Object.entries(TIERS).map(([tier, text]) => [tierBadge({ tier }), text]),
    ...Object.entries(VERDICTS).map(([verdict, [word, style, text]]) => [html('span', { class: `badge ${style}` }, verdict), `${word}: ${text}`]),
  ];
  byId('verdicts').replaceChildren(...rows.flatMap(([badge, text]) => [html('dt', {}, badge), html('dd', {}, text)]));
}
