'use strict';

const rowsShown = { columns: [], rows: new Map() };

function defaultOrder(column) {
  return column.better === 'higher' || column.newestFirst ? 'desc' : 'asc';
}

function sortOf(columns) {
  const column = columns.find(({ key }) => key === state.sort) ?? columns[0];
  return { column, descending: (state.sort === column.key && state.order ? state.order : defaultOrder(column)) === 'desc' };
}

// Entries without a rank follow those with one, in the order of what they are ranked by. Rejected ones are last whatever is asked for.
function visibleEntries() {
  const { column, descending } = sortOf(rowsShown.columns);
  const by = rankBy();
  const sign = metricOf(currentTask(), by.metric)?.better === 'higher';
  return currentTask().entries.filter(passes).sort((a, b) =>
    compare(isRejected(a), isRejected(b)) || compare(column.value(a), column.value(b), descending) || compare(scoreAt(a, by.metric, by.step)?.mean, scoreAt(b, by.metric, by.step)?.mean, sign));
}

function drawTable() {
  const { entries } = currentTask();
  const columns = shownColumns();
  rowsShown.columns = columns;
  rowsShown.rows = new Map(entries.map(entry => [entry, tableRow(entry, columns)]));
  const head = html('thead', {}, html('tr', {}, ...columns.map(headerCell)));
  const foot = html('tfoot', {}, html('tr', {}, ...columns.map(floorCell)), html('tr', {}, ...columns.map(resolutionCell)));
  byId('table').classList.toggle('long', entries.length > 25);
  byId('table').replaceChildren(html('table', {}, head, html('tbody', {}), foot));
}

function cellClass(column) {
  if (column.key === 'name') return 'model';
  return column.number && column.key !== 'rank' ? 'number' : column.wrap ? 'reason' : '';
}

function headerCell(column) {
  const sort = button(column.label, () => {
    const { column: now, descending } = sortOf(rowsShown.columns);
    const again = now.key === column.key;
    update({ sort: column.key, order: again ? (descending ? 'asc' : 'desc') : defaultOrder(column) });
  }, { title: column.title });
  return html('th', { scope: 'col', class: cellClass(column), 'data-key': column.key }, sort);
}

function tableRow(entry, columns) {
  const cells = columns.map(column => {
    const heading = column.key === 'name';
    return html(heading ? 'th' : 'td', { class: cellClass(column), scope: heading ? 'row' : null }, ...column.content(entry));
  });
  return html('tr', { 'data-key': keyOf(entry), class: isRejected(entry) ? 'rejected' : null }, ...cells);
}

function floorCell(column) {
  if (column.key === 'name') return html('th', { class: 'model', scope: 'row' }, 'Label-error floor');
  return html('td', { class: cellClass(column) }, Number.isFinite(column.floor) ? formatNumber(column.floor) : '');
}

function resolutionCell(column) {
  if (column.key === 'name') return html('th', { class: 'model', scope: 'row' }, 'Smallest difference told apart');
  return html('td', { class: cellClass(column) }, Number.isFinite(column.resolves) ? `${formatNumber(100 * column.resolves, 2)} %` : '');
}

// Rows are moved, not rebuilt, so that the focus stays where it is.
function arrangeTable() {
  const { columns, rows } = rowsShown;
  const { column, descending } = sortOf(columns);
  const { entries } = currentTask();
  const visible = visibleEntries();
  const node = byId('table').querySelector('table');
  const none = entries.length ? 'No entry passes the filter.' : 'No entry yet.';
  const empty = html('tr', {}, html('td', { colspan: columns.length, class: 'muted' }, none));
  const focused = document.activeElement;
  node.tBodies[0].replaceChildren(...(visible.length ? visible.map(entry => rows.get(entry)) : [empty]));
  if (focused !== document.activeElement && focused?.isConnected) focused.focus({ preventScroll: true });
  for (const cell of node.tHead.rows[0].cells) {
    cell.setAttribute('aria-sort', cell.dataset.key === column.key ? (descending ? 'descending' : 'ascending') : 'none');
  }
  byId('count').textContent = visible.length === entries.length ? `${formatCount(entries.length)} entries` : `${formatCount(visible.length)} of ${formatCount(entries.length)} entries`;
  for (const node of document.querySelectorAll('[data-export]')) node.disabled = !visible.length;
}

function markShown() {
  const slots = shownSlots();
  const full = slots.filter(Boolean).length >= SLOTS;
  for (const [entry, row] of rowsShown.rows) {
    const slot = slots.indexOf(entry);
    const box = row.querySelector('input');
    row.classList.toggle('chosen', slot >= 0);
    box.checked = slot >= 0;
    box.disabled = full && slot < 0;
    box.className = slot >= 0 ? `series-${slot}` : '';
  }
}
