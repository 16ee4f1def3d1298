// All tests in one process. Node 22 and later run this file for `node --test tests/page/`; Node 18 and 20 run each of the
// *.test.mjs files in a process of its own, and not this one.

const { readdirSync } = require("node:fs");

const tests = readdirSync(__dirname).filter((name) => name.endsWith(".test.mjs"));
if (tests.length === 0) throw new Error(`no tests in ${__dirname}`);
for (const name of tests) import(`./${name}`);
