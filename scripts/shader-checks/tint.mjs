// Compiles every module of a folder of shader texts with Tint, the WGSL compiler of Chrome, through Dawn's null
// backend, which needs no driver: strict WGSL, the uniformity analysis, and a pipeline with the module's constants.
//
//     node tint.mjs FOLDER MODULES
//
// MODULES is a folder that holds the npm package `webgpu`. FOLDER holds index.json and the .wgsl files it names. Prints
// `# ` and the version, then for each module `ok NAME.wgsl` or `bad NAME.wgsl MESSAGE`, the message on one line.

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

const [folder, modules] = process.argv.slice(2).map(path => resolve(path));
const require = createRequire(join(modules, 'none.js'));
const { create, globals } = await import(pathToFileURL(require.resolve('webgpu')));
Object.assign(globalThis, globals);

const packageFile = join(modules, 'node_modules', 'webgpu', 'package.json');
console.log(`# webgpu ${JSON.parse(readFileSync(packageFile, 'utf8')).version} (Dawn)`);

// A variable of its own: once collected, it takes the adapter with it.
const gpu = create(['backend=null']);
const adapter = await gpu.requestAdapter();
// With the default limits, which are the least that every adapter has.
const device = await adapter.requestDevice();

/** What is wrong with a module, as one line; empty if nothing is. */
async function wrong({ constants, entry_point }, code) {
    device.pushErrorScope('validation');
    const module = device.createShaderModule({ code });
    const { messages } = await module.getCompilationInfo();
    device.createComputePipeline({ layout: 'auto', compute: { module, entryPoint: entry_point, constants } });
    const error = await device.popErrorScope();
    // Warnings count too: there are none today.
    const lines = messages.map(message => `${message.lineNum}:${message.linePos} ${message.type}: ${message.message}`);
    if (error && !messages.some(message => message.type === 'error')) lines.push(error.message);
    return lines.join(' ').replaceAll(/\s+/g, ' ');
}

for (const entry of JSON.parse(readFileSync(join(folder, 'index.json'), 'utf8'))) {
    const message = await wrong(entry, readFileSync(join(folder, `${entry.name}.wgsl`), 'utf8'));
    console.log(message ? `bad ${entry.name}.wgsl ${message}` : `ok ${entry.name}.wgsl`);
}
// Dawn's threads would keep the process alive.
process.exit(0);
