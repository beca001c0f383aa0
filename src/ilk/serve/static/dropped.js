// Files of what was dropped: single files, and folders with everything in them.

function readEntries(reader) {
  return new Promise((resolve, reject) => reader.readEntries(resolve, reject));
}

function getFile(entry) {
  return new Promise((resolve, reject) => entry.file(resolve, reject));
}

/** Return up to `limit` files of a drop, those of folders included; hidden files are left out. */
export async function collectFiles(transfer, limit) {
  const entries = [...transfer.items]
    .filter((item) => item.kind === "file")
    .map((item) => (item.webkitGetAsEntry ? item.webkitGetAsEntry() : null));
  if (!entries.length || entries.some((entry) => entry === null)) return [...transfer.files];
  const files = [];
  while (entries.length && files.length < limit) {
    const entry = entries.shift();
    if (entry.name.startsWith(".")) continue;
    if (entry.isFile) {
      files.push(await getFile(entry));
      continue;
    }
    const reader = entry.createReader();
    const found = [];
    for (let batch = await readEntries(reader); batch.length; batch = await readEntries(reader)) {
      found.push(...batch);
    }
    found.sort((a, b) => a.name.localeCompare(b.name, "en", { numeric: true }));
    entries.unshift(...found);
  }
  return files;
}
