// Runs the rows of the shader tables on Dawn, the WebGPU of Chrome, with the Vulkan driver that the loader finds, and
// holds what comes out against what the tables expect.
//
//     node dawn.mjs FOLDER MODULES
//
// MODULES is a folder that holds the npm package `webgpu`. FOLDER holds what `tests/suite/shaders/export.rs` writes,
// which also says what is in there. Prints `# ` and the versions, then for each shader `run NAME ERROR`, the largest
// error as a share of what is allowed, or `bad NAME MESSAGE`, the message on one line: the first row that is wrong.

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

const [folder, modules] = process.argv.slice(2).map(path => resolve(path));
const require = createRequire(join(modules, 'none.js'));
const { create, globals } = await import(pathToFileURL(require.resolve('webgpu')));
Object.assign(globalThis, globals);

/** The numbers of a file without a head. */
function numbers(name, type) {
    const bytes = readFileSync(join(folder, name));
    // A copy of its own is aligned.
    return new type(new Uint8Array(bytes).buffer);
}
const { guards, poison, kinds, pipelines, shaders } = JSON.parse(readFileSync(join(folder, 'index.json'), 'utf8'));
const words = numbers('words.bin', Uint32Array);
const expected = numbers('expected.bin', Float64Array);
const wordsAt = ({ at, words: length }) => words.subarray(at, at + length);

// A variable of its own: once collected, it takes the adapter with it.
const gpu = create(['backend=vulkan']);
const adapter = await gpu.requestAdapter();
// With the default limits, which are the least that every adapter has.
const device = await adapter.requestDevice();
const { version } = JSON.parse(readFileSync(join(modules, 'node_modules', 'webgpu', 'package.json'), 'utf8'));
console.log(`# webgpu ${version} (Dawn) on ${adapter.info.description}`);

/** Thrown for a row that is wrong. */
class Wrong extends Error {}

const hex = word => `0x${word.toString(16).padStart(8, '0')}`;
const floatOf = word => new Float32Array(Uint32Array.of(word).buffer)[0];

/** The error of a word as a share of what is allowed; what is not at most 1, NaN included, is wrong. */
function share(word, kind, value, tolerance) {
    const float = floatOf(word);
    const right = {
        near: () => float === value || Math.abs(float - value) / tolerance,
        bits: () => word === value,
        nan: () => Number.isNaN(float),
        any: () => true,
    }[kind]();
    if (word === poison) return NaN;
    return typeof right === 'number' ? right : right ? 0 : NaN;
}

/** The largest error in a value written, output number `output`, of which `at` says what it must be. */
function judge(value, at, output) {
    let worst = 0;
    for (let i = 0; i < value.length; i++) {
        const [kind, number, tolerance] = expected.subarray(at + 3 * i, at + 3 * i + 3);
        const error = share(value[i], kinds[kind], number, tolerance);
        if (!(error <= 1)) {
            const left = value[i] === poison ? ', left unwritten' : '';
            const allowed = { near: `${number} within ${tolerance}`, bits: hex(number) }[kinds[kind]] ?? kinds[kind];
            throw new Wrong(`output ${output}[${i}] is ${floatOf(value[i])} (${hex(value[i])}${left}), not ${allowed}`);
        }
        worst = Math.max(worst, error);
    }
    return worst;
}

/** A buffer with these words. */
function bufferOf(words, usage) {
    const buffer = device.createBuffer({ size: words.byteLength, usage, mappedAtCreation: true });
    new Uint32Array(buffer.getMappedRange()).set(words);
    buffer.unmap();
    return buffer;
}

/** What the buffers of a row hold after one dispatch of `grid` workgroups. */
async function run(row, { pipeline, layout }, grid) {
    const { STORAGE, UNIFORM, COPY_SRC, COPY_DST, MAP_READ } = GPUBufferUsage;
    const params = bufferOf(wordsAt(row.params), UNIFORM);
    const buffers = row.buffers.map(buffer => bufferOf(wordsAt(buffer), STORAGE | COPY_SRC));
    const readBacks = buffers.map(({ size }) => device.createBuffer({ size, usage: COPY_DST | MAP_READ }));
    // The guards behind a value are bound with it: what a shader does beyond its binding is never seen.
    const values = buffers.map(buffer => ({ buffer, offset: 4 * guards.before }));
    const entries = [{ buffer: params }, ...values].map((resource, binding) => ({ binding, resource }));
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, device.createBindGroup({ layout, entries }));
    pass.dispatchWorkgroups(...grid);
    pass.end();
    buffers.forEach((buffer, i) => encoder.copyBufferToBuffer(buffer, 0, readBacks[i], 0, buffer.size));
    device.queue.submit([encoder.finish()]);
    await Promise.all(readBacks.map(buffer => buffer.mapAsync(GPUMapMode.READ)));
    const after = readBacks.map(buffer => new Uint32Array(buffer.getMappedRange().slice(0)));
    [params, ...buffers, ...readBacks].forEach(buffer => buffer.destroy());
    return after;
}

/** The values written, if nothing but them was touched. */
function written(row, after) {
    const reads = row.buffers.length - row.expected.length;
    row.buffers.forEach((buffer, i) => {
        const before = wordsAt(buffer);
        const end = before.length - guards.behind;
        const touched = after[i].findIndex((word, at) =>
            word !== before[at] && (i < reads || at < guards.before || at >= end));
        if (touched >= 0) {
            const [place, length] = [touched - guards.before, end - guards.before];
            throw new Wrong(`wrote ${hex(after[i][touched])} to word ${place} of binding ${i + 1}, of ${length} words`);
        }
    });
    return after.slice(reads).map(words => words.subarray(guards.before, words.length - guards.behind));
}

/** The largest error of a row: its first run must give what is expected, the others the same bits. */
async function check(row) {
    let first;
    let worst = 0;
    for (const { mode, pipeline, grid } of row.runs) {
        try {
            const outputs = written(row, await run(row, await compiled[pipeline], grid));
            if (!first) worst = Math.max(...outputs.map((output, o) => judge(output, row.expected[o], o)));
            first ??= outputs;
            outputs.forEach((output, o) => {
                const i = output.findIndex((word, i) => word !== first[o][i]);
                if (i >= 0) throw new Wrong(`output ${o}[${i}] is ${hex(output[i])}, but was ${hex(first[o][i])}`);
            });
        } catch (error) {
            if (!(error instanceof Wrong)) throw error;
            throw new Wrong(`${row.row}: ${mode}: ${error.message}`);
        }
    }
    return worst;
}

/** The pipeline with this text and these constants, for rows that are bound like `row`. */
async function compile({ wgsl, constants }, row) {
    const writes = row.expected.length;
    const reads = row.buffers.length - writes;
    const types = ['uniform', ...Array(reads).fill('read-only-storage'), ...Array(writes).fill('storage')];
    const entries = types.map((type, binding) => ({ binding, visibility: GPUShaderStage.COMPUTE, buffer: { type } }));
    const layout = device.createBindGroupLayout({ entries });
    try {
        const pipeline = await device.createComputePipelineAsync({
            layout: device.createPipelineLayout({ bindGroupLayouts: [layout] }),
            compute: { module: device.createShaderModule({ code: wgsl }), entryPoint: 'main', constants },
        });
        return { pipeline, layout };
    } catch (error) {
        throw new Wrong(`does not compile: ${error.message.replaceAll(/\s+/g, ' ').trim()}`);
    }
}

// A promise for each pipeline, in the order in which the rows want them. A driver compiles a pipeline on one core, and
// may need half a gigabyte for that: as many at a time as there are cores, while rows run whose pipelines are there.
const compiled = [];
const workers = Array(availableParallelism()).fill(Promise.resolve());
for (const row of Object.values(shaders).flat()) {
    for (const { pipeline } of row.runs) {
        if (compiled[pipeline]) continue;
        const worker = pipeline % workers.length;
        compiled[pipeline] = workers[worker].then(() => compile(pipelines[pipeline], row));
        // Whoever awaits the pipeline hears of its fault.
        workers[worker] = compiled[pipeline].catch(() => {});
    }
}

for (const [name, rows] of Object.entries(shaders)) {
    let worst = 0;
    const wrong = [];
    for (const row of rows) {
        try {
            worst = Math.max(worst, await check(row));
        } catch (error) {
            if (!(error instanceof Wrong)) throw error;
            wrong.push(error.message);
        }
    }
    const more = wrong.length > 1 ? ` (and ${wrong.length - 1} more)` : '';
    console.log(wrong.length ? `bad ${name} ${wrong[0]}${more}` : `run ${name} ${worst.toFixed(2)}`);
}
// Dawn's threads would keep the process alive.
process.exit(0);
