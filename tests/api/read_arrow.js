// Reads an Arrow IPC stream with npm apache-arrow (NODE_PATH says where it lies) and prints what it saw as JSON:
// rows, and for each column its name, type, nulls and the sha256 of its values (fixed width: the bytes; text: joined by NUL).
//   node read_arrow.js FILE
'use strict';
const fs = require('fs');
const crypto = require('crypto');
const arrow = require('apache-arrow');

const reader = arrow.RecordBatchReader.from(fs.readFileSync(process.argv[2]));
let columns = null;
let rows = 0;
let batches = 0;
for (const batch of reader) {
  batches++;
  rows += batch.numRows;
  columns ??= batch.schema.fields.map((f) => ({ name: f.name, type: String(f.type), nulls: 0, hash: crypto.createHash('sha256') }));
  columns.forEach((column, i) => {
    const vector = batch.getChildAt(i);
    column.nulls += vector.nullCount;
    if (arrow.DataType.isUtf8(vector.type)) {
      const texts = new Array(batch.numRows);
      for (let r = 0; r < batch.numRows; r++) texts[r] = vector.get(r);
      column.hash.update(texts.join('\0') + '\0');
    } else {
      for (const data of vector.data) {
        const values = data.values.subarray(0, data.length * (data.values.length / data.length || 1));
        column.hash.update(Buffer.from(values.buffer, values.byteOffset, values.byteLength));
      }
    }
  });
}
columns ??= reader.schema.fields.map((f) => ({ name: f.name, type: String(f.type), nulls: 0, hash: crypto.createHash('sha256') }));
console.log(JSON.stringify({ rows, batches, columns: columns.map((c) => ({ ...c, hash: c.hash.digest('hex') })) }));
