// Reads an XLSX file with npm exceljs (its bundle; NODE_PATH says where) and prints {sheets, rows} as JSON: dates as
// ISO text, a formula as {formula}, an empty cell as null.
//   node read_xlsx.js FILE
'use strict';
const fs = require('fs');
const excel = require('exceljs/dist/exceljs.min.js');

function plain(v) {
  if (v instanceof Date) return v.toISOString();
  return v === undefined ? null : v;
}
const book = new excel.Workbook();
book.xlsx.load(fs.readFileSync(process.argv[2])).then(() => {
  const sheet = book.worksheets[0];
  const rows = [];
  sheet.eachRow({ includeEmpty: true }, (row) => rows.push(Array.from({ length: sheet.columnCount }, (_, i) => plain(row.getCell(i + 1).value))));
  console.log(JSON.stringify({ sheets: book.worksheets.map((s) => s.name), rows }));
});
