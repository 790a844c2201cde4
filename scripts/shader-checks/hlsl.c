/* Compiles HLSL with one of Microsoft's compilers: DXC (shader model 6) or FXC (shader model 5.1), each with the
 * arguments that wgpu gives it. Runs on Windows, and elsewhere under Wine.
 *
 *     hlsl.exe dxc|fxc LIBRARY < LIST
 *
 * LIBRARY is dxcompiler.dll or d3dcompiler_47.dll. LIST names a file a line, of a compute shader whose entry point is
 * `main`. The first line of the output is `# ` and the compiler's version; then, for each file, `ok FILE MILLISECONDS`
 * or `bad FILE MESSAGE`, the message on one line. The exit code says whether the compiler could be asked, not what it
 * said.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <windows.h>
#include <d3dcommon.h>

/* The parts of DXC's interface that are called here, in the order of their tables. */

typedef struct { const void *text; SIZE_T bytes; UINT encoding; } DxcBuffer;

typedef struct DxcResult DxcResult;
struct DxcResult {
    const struct {
        HRESULT (WINAPI *QueryInterface)(DxcResult *, REFIID, void **);
        ULONG (WINAPI *AddRef)(DxcResult *);
        ULONG (WINAPI *Release)(DxcResult *);
        HRESULT (WINAPI *GetStatus)(DxcResult *, HRESULT *);
        HRESULT (WINAPI *GetResult)(DxcResult *, ID3DBlob **);
        HRESULT (WINAPI *GetErrorBuffer)(DxcResult *, ID3DBlob **);
    } *table;
};

typedef struct DxcCompiler DxcCompiler;
struct DxcCompiler {
    const struct {
        HRESULT (WINAPI *QueryInterface)(DxcCompiler *, REFIID, void **);
        ULONG (WINAPI *AddRef)(DxcCompiler *);
        ULONG (WINAPI *Release)(DxcCompiler *);
        HRESULT (WINAPI *Compile)(DxcCompiler *, const DxcBuffer *, LPCWSTR *, UINT, void *, REFIID, void **);
    } *table;
};

typedef struct DxcVersionInfo DxcVersionInfo;
struct DxcVersionInfo {
    const struct {
        HRESULT (WINAPI *QueryInterface)(DxcVersionInfo *, REFIID, void **);
        ULONG (WINAPI *AddRef)(DxcVersionInfo *);
        ULONG (WINAPI *Release)(DxcVersionInfo *);
        HRESULT (WINAPI *GetVersion)(DxcVersionInfo *, UINT *, UINT *);
    } *table;
};

static const GUID CLASS_COMPILER = {0x73e22d93, 0xe6ce, 0x47f3, {0xb5, 0xbf, 0xf0, 0x66, 0x4f, 0x39, 0xc1, 0xb0}};
static const GUID COMPILER = {0x228b4687, 0x5a6a, 0x4730, {0x90, 0x0c, 0x97, 0x02, 0xb2, 0x20, 0x3f, 0x54}};
static const GUID RESULT = {0x58346cda, 0xdde7, 0x4497, {0x94, 0x61, 0x6f, 0x87, 0xaf, 0x5e, 0x06, 0x59}};
static const GUID VERSION_INFO = {0xb04f5b50, 0x2059, 0x4f12, {0xa8, 0xff, 0xa1, 0xe0, 0xcd, 0xe1, 0xcc, 0x7e}};

typedef HRESULT (WINAPI *DxcCreateInstance)(REFIID, REFIID, void **);
typedef HRESULT (WINAPI *D3DCompile)(LPCVOID, SIZE_T, LPCSTR, const void *, void *, LPCSTR, LPCSTR, UINT, UINT,
                                     ID3DBlob **, ID3DBlob **);

static const UINT D3DCOMPILE_ENABLE_STRICTNESS = 1 << 11;

static void fail(const char *what, const char *which) {
    fprintf(stderr, "hlsl: %s: %s\n", which, what);
    exit(2);
}

static void *symbol(HMODULE library, const char *name) {
    void *address = (void *)GetProcAddress(library, name);
    if (!address) fail("not found in the library", name);
    return address;
}

static char *contents(const char *path, size_t *bytes) {
    FILE *file = fopen(path, "rb");
    if (!file) fail("cannot be read", path);
    fseek(file, 0, SEEK_END);
    *bytes = ftell(file);
    rewind(file);
    char *text = malloc(*bytes + 1);
    if (!text || fread(text, 1, *bytes, file) != *bytes) fail("cannot be read", path);
    fclose(file);
    return text;
}

static DxcCompiler *open_dxc(HMODULE library) {
    DxcCreateInstance create = symbol(library, "DxcCreateInstance");
    DxcCompiler *compiler = NULL;
    DxcVersionInfo *info = NULL;
    UINT major = 0, minor = 0;
    if (FAILED(create(&CLASS_COMPILER, &COMPILER, (void **)&compiler))) fail("makes no compiler", "DXC");
    if (SUCCEEDED(compiler->table->QueryInterface(compiler, &VERSION_INFO, (void **)&info)))
        info->table->GetVersion(info, &major, &minor);
    printf("# DXC %u.%u\n", major, minor);
    return compiler;
}

static HRESULT compile_dxc(DxcCompiler *compiler, const char *text, size_t bytes, ID3DBlob **messages) {
    LPCWSTR arguments[] = {L"-E", L"main", L"-T", L"cs_6_0", L"-HV", L"2018", L"-no-warnings", L"-Ges"};
    DxcBuffer source = {text, bytes, CP_UTF8};
    DxcResult *result = NULL;
    HRESULT status = compiler->table->Compile(compiler, &source, arguments, sizeof arguments / sizeof *arguments, NULL,
                                              &RESULT, (void **)&result);
    if (FAILED(status)) return status;
    result->table->GetErrorBuffer(result, messages);
    result->table->GetStatus(result, &status);
    result->table->Release(result);
    return status;
}

static HRESULT compile_fxc(D3DCompile compile, const char *text, size_t bytes, ID3DBlob **messages) {
    ID3DBlob *code = NULL;
    HRESULT status = compile(text, bytes, NULL, NULL, NULL, "main", "cs_5_1", D3DCOMPILE_ENABLE_STRICTNESS, 0, &code,
                             messages);
    if (code) code->lpVtbl->Release(code);
    return status;
}

/* The messages on one line, without what FXC only warns of. */
static void print_messages(ID3DBlob *messages) {
    const char *text = messages ? messages->lpVtbl->GetBufferPointer(messages) : "no message";
    size_t bytes = messages ? messages->lpVtbl->GetBufferSize(messages) : strlen(text);
    char *copy = calloc(bytes + 1, 1);
    memcpy(copy, text, bytes);
    for (char *line = strtok(copy, "\r\n"); line; line = strtok(NULL, "\r\n"))
        if (!strstr(line, ": warning X")) printf(" %s", line);
    printf("\n");
    free(copy);
}

int main(int count, char **arguments) {
    char path[1024];
    int dxc = count == 3 && !strcmp(arguments[1], "dxc"), fxc = count == 3 && !strcmp(arguments[1], "fxc");
    if (!dxc && !fxc) fail("hlsl.exe dxc|fxc LIBRARY < LIST", "usage");
    setvbuf(stdout, NULL, _IOLBF, 1024);
    HMODULE library = LoadLibraryA(arguments[2]);
    if (!library) fail("cannot be loaded", arguments[2]);
    DxcCompiler *compiler = dxc ? open_dxc(library) : NULL;
    D3DCompile compile = fxc ? symbol(library, "D3DCompile") : NULL;
    if (fxc) printf("# FXC, %s\n", strrchr(arguments[2], '/') ? strrchr(arguments[2], '/') + 1 : arguments[2]);
    while (fgets(path, sizeof path, stdin)) {
        size_t bytes;
        path[strcspn(path, "\r\n")] = 0;
        char *text = contents(path, &bytes);
        ID3DBlob *messages = NULL;
        DWORD start = GetTickCount();
        HRESULT status = dxc ? compile_dxc(compiler, text, bytes, &messages)
                             : compile_fxc(compile, text, bytes, &messages);
        if (SUCCEEDED(status)) {
            printf("ok %s %lu\n", path, GetTickCount() - start);
        } else {
            printf("bad %s", path);
            print_messages(messages);
        }
        fflush(stdout);
        if (messages) messages->lpVtbl->Release(messages);
        free(text);
    }
    return 0;
}
