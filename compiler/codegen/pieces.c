// pieces.c: the pieces of a module, which LLVM compiles at the same time.
//
// Entry points, and then kernels as they are made, are dealt to parts: the first is filled up to a
// size, then the next one, and when there are enough of them the smallest takes what comes next. In
// the end parts are put together to a few pieces of about one size, an even number, so that two
// threads are done at the same time. So the pieces follow from the program alone, not from the
// number of threads, and a build gives the same bytes everywhere. An LLVM context belongs to one
// thread: each piece goes to its thread as bitcode and meets the templates there.

#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <llvm-c/BitReader.h>
#include <llvm-c/BitWriter.h>
#include <llvm-c/Comdat.h>
#include <llvm-c/Linker.h>
#include <llvm-c/Transforms/PassBuilder.h>

#include "codegen/objects.h"

extern const AmlEmbedded aml_kernel_bitcode[], aml_kernel_objects[];

// Templates first become part of the kernels that call them; then each kernel is straight-line code
// and a few loops. Further passes of LLVM's own lists (gvn, dse, adce, instcombine once more) took
// a twelfth of its time and left the instructions of nearly all kernels as they were; sroa after
// unrolling and loop-instsimplify and loop-simplifycfg before rotating left those of all.
//
// The tiles of products, forty of which a product calls two or three, are read when all around them
// has been inlined (dot_tile_sums.h).
static const char around[] = "elim-avail-extern,globaldce,always-inline,globaldce";
static const char pipeline[] =
    "elim-avail-extern,globaldce,always-inline,globaldce,always-inline,globaldce,"
    "function(sroa,early-cse<memssa>,simplifycfg,instcombine<no-verify-fixpoint>,"
    "loop-mssa(loop-rotate,licm),simplifycfg,instcombine<no-verify-fixpoint>,"
    "loop(loop-idiom,indvars,loop-deletion,loop-unroll-full),early-cse<memssa>,"
    "loop-mssa(licm),simplifycfg,instcombine<no-verify-fixpoint>)";

// In instructions. A template becomes about as many as are stated for it; an entry point calls a
// kernel for each of the IR's, which are quickly compiled. A piece is not smaller than it must be:
// each one reads the templates and sets up LLVM's passes for itself: several milliseconds.
enum {
    PART_SIZE = 800,
    PIECE_SIZE = 4000,
    PRODUCT_SIZE = 300,
    TEMPLATE_SIZE = 150,
    ENTRY_SIZE = 5
};

// ---- dealing ------------------------------------------------------------------------------------

static void set_target(Codegen *g, LLVMModuleRef module)
{
    LLVMSetTarget(module, g->triple);
    LLVMTargetDataRef layout = LLVMCreateTargetDataLayout(g->machine);
    LLVMSetModuleDataLayout(module, layout);
    LLVMDisposeTargetData(layout);
}

LLVMModuleRef piece_new(Codegen *g, LLVMContextRef llvm)
{
    LLVMModuleRef module = LLVMModuleCreateWithNameInContext("aml", llvm);
    set_target(g, module);
    return module;
}

// The part with least in it, or a new one.
static int choose_piece(Codegen *g)
{
    int least = g->entries_apart;
    for (int i = least + 1; i < g->pieces; i++)
        if (g->load[i] < g->load[least])
            least = i;
    bool none = least == g->pieces;
    if (none || (g->load[least] >= PART_SIZE && g->pieces < g->most_parts)) {
        least = g->pieces++;
        g->piece[least] = piece_new(g, g->llvm);
    }
    return least;
}

int piece_for_entry(Codegen *g, const IrFunction *entry)
{
    int piece = g->entries_apart ? 0 : choose_piece(g);
    for (const Inst *inst = entry->first; inst; inst = inst->next)
        g->load[piece] += ENTRY_SIZE;
    return piece;
}

LLVMModuleRef piece_for_kernel(Codegen *g)
{
    return g->piece[choose_piece(g)];
}

void piece_add(Codegen *g, LLVMValueRef kernel)
{
    int64_t size = 0;
    for (LLVMBasicBlockRef block = LLVMGetFirstBasicBlock(kernel); block;
         block = LLVMGetNextBasicBlock(block))
        for (LLVMValueRef inst = LLVMGetFirstInstruction(block); inst;
             inst = LLVMGetNextInstruction(inst)) {
            LLVMValueRef callee = LLVMIsACallInst(inst) ? LLVMGetCalledValue(inst) : NULL;
            size_t length = 0;
            const char *name = callee ? LLVMGetValueName2(callee, &length) : "";
            bool product = strncmp(name, "aml_dot_", 8) == 0 || strncmp(name, "aml_conv_", 9) == 0;
            size += product ? PRODUCT_SIZE : strncmp(name, "aml_", 4) == 0 ? TEMPLATE_SIZE : 1;
        }
    for (int i = 0; i < g->pieces; i++)
        if (g->piece[i] == LLVMGetGlobalParent(kernel))
            g->load[i] += size;
}

static int pieces_wanted(const Codegen *g)
{
    int64_t sum = 0;
    for (int i = g->entries_apart; i < g->pieces; i++)
        sum += g->load[i];
    int64_t pairs = (sum + PIECE_SIZE) / (2 * PIECE_SIZE);
    int wanted = pairs > 0 ? 2 * (int)pairs : sum > PIECE_SIZE / 2 ? 2 : 1;
    int most = MOST_PIECES - g->entries_apart;
    return g->entries_apart + (wanted < most ? wanted : most);
}

// The largest part first, to the piece with least in it.
static void put_together(Codegen *g)
{
    int first = g->entries_apart, wanted = pieces_wanted(g);
    if (g->pieces <= wanted)
        return;
    LLVMModuleRef piece[MOST_PIECES] = {first ? g->piece[0] : NULL};
    int64_t load[MOST_PIECES] = {first ? g->load[0] : 0};
    for (int done = first; done < g->pieces; done++) {
        int largest = -1, least = first;
        for (int i = first; i < g->pieces; i++)
            if (g->piece[i] && (largest < 0 || g->load[i] > g->load[largest]))
                largest = i;
        for (int i = first + 1; i < wanted; i++)
            if (load[i] < load[least])
                least = i;
        load[least] += g->load[largest];
        if (!piece[least])
            piece[least] = g->piece[largest];
        else if (LLVMLinkModules2(piece[least], g->piece[largest]))
            bug(g->cx, (Span){0}, "LLVM cannot put the parts of the program together");
        g->piece[largest] = NULL;
    }
    memcpy(g->piece, piece, sizeof piece);
    memcpy(g->load, load, sizeof load);
    g->pieces = wanted;
}

// ---- templates ----------------------------------------------------------------------------------

static void templates_name(const Codegen *g, char name[16])
{
    const char *kind = !g->bytes ? "" : *g->features ? "n" : "q"; // with VNNI; with quads
    snprintf(name, 16, "%c%d%s.bc", *g->triple == 'a' ? 'a' : 'v', g->lanes, kind);
}

static const AmlEmbedded *find_file(const AmlEmbedded *files, const char *name)
{
    for (const AmlEmbedded *file = files; file->name; file++)
        if (strcmp(file->name, name) == 0)
            return file;
    return NULL;
}

static LLVMModuleRef read_file(Codegen *g, LLVMContextRef llvm, const char *name)
{
    const AmlEmbedded *file = find_file(aml_kernel_bitcode, name);
    if (!file)
        return NULL;
    LLVMMemoryBufferRef buffer =
        LLVMCreateMemoryBufferWithMemoryRange(file->at, file->length, "kernels", 0);
    LLVMModuleRef kernels = NULL; // owns the buffer from here on
    if (LLVMGetBitcodeModuleInContext2(llvm, buffer, &kernels))
        return NULL;
    set_target(g, kernels);
    return kernels;
}

LLVMModuleRef templates_read(Codegen *g, LLVMContextRef llvm)
{
    char name[16];
    templates_name(g, name);
    return read_file(g, llvm, name);
}

static LLVMModuleRef tiles_read(Codegen *g, LLVMContextRef llvm)
{
    char name[16];
    snprintf(name, sizeof name, "%c%dt.bc", *g->triple == 'a' ? 'a' : 'v', g->lanes);
    return read_file(g, llvm, name);
}

// What templates share was compiled when amlc was built, with what a level has and without the
// products of bytes.
const AmlEmbedded *templates_compiled(const Codegen *g)
{
    char name[16];
    snprintf(name, sizeof name, "v%d.o", g->lanes);
    return g->bytes || *g->triple == 'a' ? NULL : find_file(aml_kernel_objects, name);
}

static bool is_shared(LLVMValueRef function)
{
    size_t length;
    return strncmp(LLVMGetValueName2(function, &length), "aml_shared_", 11) == 0;
}

// A function that several pieces have is in the program once: the linker leaves the others out. The
// kinds of a processor's kernels are kept apart by the name of their file.
static void keep_once(Codegen *g, LLVMValueRef function)
{
    char file[16], name[96];
    size_t length;
    templates_name(g, file);
    snprintf(name, sizeof name, "%s_%.*s", LLVMGetValueName2(function, &length),
             (int)strcspn(file, "."), file);
    LLVMSetValueName2(function, name, strlen(name));
    LLVMSetLinkage(function, LLVMLinkOnceODRLinkage);
    LLVMSetVisibility(function, LLVMHiddenVisibility);
    LLVMSetComdat(function, LLVMGetOrInsertComdat(LLVMGetGlobalParent(function), name));
}

static void adopt_template(Codegen *g, LLVMValueRef function)
{
    static const char *const text_attributes[] = {
        "target-cpu",          "target-features", "tune-cpu", "min-legal-vector-width",
        "prefer-vector-width", "frame-pointer"};
    static const char *const attributes[] = {"alwaysinline", "nounwind", NULL};
    LLVMAttributeIndex all = (LLVMAttributeIndex)LLVMAttributeFunctionIndex;
    for (size_t i = 0; i < COUNT_OF(text_attributes); i++)
        LLVMRemoveStringAttributeAtIndex(function, all, text_attributes[i],
                                         (unsigned)strlen(text_attributes[i]));
    bool shared = is_shared(function);
    if (!shared)
        LLVMRemoveEnumAttributeAtIndex(function, all,
                                       LLVMGetEnumAttributeKindForName("noinline", 8));
    LLVMSetLinkage(function, LLVMInternalLinkage);
    function_attributes(g, function, shared ? NULL : attributes);
    if (shared)
        keep_once(g, function);
}

// ---- compiling ----------------------------------------------------------------------------------

typedef struct Piece {
    LLVMMemoryBufferRef bitcode, result;
    char *text; // the result if it is LLVM's text
    char *kept; // the result if an earlier build left it
    size_t kept_length;
    bool entries;                           // and nothing else
    const char *wrong;                      // what LLVM said
    double join_time, pass_time, code_time; // of the processor
} Piece;

typedef struct Pieces {
    const Codegen *g;
    const char *emit_text;
    Piece piece[MOST_PIECES];
    int order[MOST_PIECES]; // the largest first, so that none begins late and runs alone
    pthread_mutex_t lock;   // of next
    int next;               // in `order`
} Pieces;

static const char *run_passes(LLVMModuleRef module, LLVMTargetMachineRef machine, const char *list)
{
    LLVMPassBuilderOptionsRef options = LLVMCreatePassBuilderOptions();
    LLVMErrorRef error = LLVMRunPasses(module, list, machine, options);
    LLVMDisposePassBuilderOptions(options);
    return error ? LLVMGetErrorMessage(error) : NULL;
}

// Takes those functions of `templates` that `module` needs. The linker takes what may be left out
// only where it is called, and only the bodies of what it takes are read.
static bool take_templates(Codegen *g, LLVMModuleRef module, LLVMModuleRef templates)
{
    for (LLVMValueRef function = templates ? LLVMGetFirstFunction(templates) : NULL; function;
         function = LLVMGetNextFunction(function))
        if (!LLVMIsDeclaration(function))
            LLVMSetLinkage(function, g->compiled && is_shared(function)
                                         ? LLVMAvailableExternallyLinkage
                                         : LLVMLinkOnceODRLinkage);
    if (!templates || LLVMLinkModules2(module, templates))
        return false;
    for (LLVMValueRef function = LLVMGetFirstFunction(module); function;
         function = LLVMGetNextFunction(function))
        if (LLVMGetLinkage(function) == LLVMLinkOnceODRLinkage && !LLVMGetComdat(function))
            adopt_template(g, function);
    return true;
}

static bool calls_tiles(LLVMModuleRef module)
{
    for (LLVMValueRef function = LLVMGetFirstFunction(module); function;
         function = LLVMGetNextFunction(function)) {
        size_t length;
        if (LLVMIsDeclaration(function) &&
            strncmp(LLVMGetValueName2(function, &length), "dot_tile_", 9) == 0)
            return true;
    }
    return false;
}

// Whether anything is called that is not the program's own.
static bool calls_templates(LLVMModuleRef module)
{
    for (LLVMValueRef function = LLVMGetFirstFunction(module); function;
         function = LLVMGetNextFunction(function)) {
        size_t length;
        const char *name = LLVMGetValueName2(function, &length);
        if (LLVMIsDeclaration(function) && strncmp(name, "llvm.", 5) != 0 &&
            strncmp(name, KERNEL_NAME, sizeof KERNEL_NAME - 1) != 0)
            return true;
    }
    return false;
}

// The piece's functions with those templates that they need.
static LLVMModuleRef join(Codegen *g, Piece *piece)
{
    LLVMModuleRef module = NULL;
    if (LLVMParseBitcodeInContext2(g->llvm, piece->bitcode, &module)) {
        piece->wrong = "a piece cannot be read";
        return NULL;
    }
    if (piece->entries && !calls_templates(module))
        return module;
    bool taken = take_templates(g, module, templates_read(g, g->llvm));
    if (taken && calls_tiles(module)) {
        piece->wrong = run_passes(module, g->machine, around);
        if (!piece->wrong && calls_tiles(module))
            taken = take_templates(g, module, tiles_read(g, g->llvm));
    }
    if (!taken)
        piece->wrong = "the templates cannot be read";
    return module;
}

static void compile_module(Codegen *g, Piece *piece, LLVMModuleRef module, const char *emit_text)
{
    bool asm_text = emit_text && strcmp(emit_text, "asm") == 0;
    char *message = NULL;
    double begin = lap_thread();
    piece->wrong = run_passes(module, g->machine, pipeline);
    double passed = lap_thread();
    piece->pass_time = passed - begin;
    if (piece->wrong)
        return;
    if (emit_text && !asm_text)
        piece->text = LLVMPrintModuleToString(module);
    else if (LLVMTargetMachineEmitToMemoryBuffer(g->machine, module,
                                                 asm_text ? LLVMAssemblyFile : LLVMObjectFile,
                                                 &message, &piece->result))
        piece->wrong = message;
    piece->code_time = lap_thread() - passed;
}

static void compile_piece(Pieces *p, Piece *piece)
{
    Codegen own = *p->g, *g = &own; // with a context of its own
    char key[OBJECT_KEY];
    bool keeps = g->keeps_objects && !p->emit_text;
    if (keeps) {
        object_key(g, pipeline, LLVMGetBufferStart(piece->bitcode),
                   LLVMGetBufferSize(piece->bitcode), key);
        piece->kept = object_find(key, &piece->kept_length);
        if (piece->kept) {
            LLVMDisposeMemoryBuffer(piece->bitcode);
            return;
        }
    }
    double begin = lap_thread();
    g->llvm = LLVMContextCreate();
    g->machine = target_machine(g->triple, g->cpu, g->features, piece->entries);
    LLVMModuleRef module = join(g, piece);
    piece->join_time = lap_thread() - begin;
    if (!piece->wrong)
        compile_module(g, piece, module, p->emit_text);
    if (keeps && !piece->wrong)
        object_keep(key, LLVMGetBufferStart(piece->result), LLVMGetBufferSize(piece->result));
    if (module)
        LLVMDisposeModule(module);
    LLVMDisposeTargetMachine(g->machine);
    LLVMContextDispose(g->llvm);
    LLVMDisposeMemoryBuffer(piece->bitcode);
}

static void *work(void *data)
{
    Pieces *p = data;
    for (;;) {
        pthread_mutex_lock(&p->lock);
        int index = p->next++;
        pthread_mutex_unlock(&p->lock);
        if (index >= p->g->pieces)
            return NULL;
        compile_piece(p, &p->piece[p->order[index]]);
    }
}

static void order_by_size(Pieces *p)
{
    for (int i = 0; i < p->g->pieces; i++) {
        int at = i;
        for (; at > 0 && p->g->load[p->order[at - 1]] < p->g->load[i]; at--)
            p->order[at] = p->order[at - 1];
        p->order[at] = i;
    }
}

static void run_all(Pieces *p)
{
    pthread_t thread[MOST_PIECES];
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    int started = 0;
    order_by_size(p);
    pthread_mutex_init(&p->lock, NULL);
    while (started + 1 < p->g->pieces && started + 1 < processors &&
           pthread_create(&thread[started], NULL, work, p) == 0)
        started++;
    work(p);
    for (int i = 0; i < started; i++)
        pthread_join(thread[i], NULL);
    pthread_mutex_destroy(&p->lock);
}

static ObjectFile take(const Codegen *g, Piece *piece)
{
    if (piece->wrong)
        bug(g->cx, (Span){0}, "LLVM cannot compile the module: %s", piece->wrong);
    lap_part(g->cx, "kernels' templates", piece->join_time);
    lap_part(g->cx, "passes", piece->pass_time);
    lap_part(g->cx, "code", piece->code_time);
    ObjectFile file;
    if (piece->kept) {
        file.length = piece->kept_length;
        file.at = arena_text(g->cx->arena, piece->kept, file.length);
        free(piece->kept);
        return file;
    }
    if (piece->text) {
        file.length = strlen(piece->text);
        file.at = arena_text(g->cx->arena, piece->text, file.length);
        LLVMDisposeMessage(piece->text);
        return file;
    }
    file.length = LLVMGetBufferSize(piece->result);
    file.at = arena_text(g->cx->arena, LLVMGetBufferStart(piece->result), file.length);
    LLVMDisposeMemoryBuffer(piece->result);
    return file;
}

// Bitcode is a tenth of its module, which nobody needs while LLVM compiles; nor what passes needed.
static void close_modules(Codegen *g)
{
    for (int i = 0; i < g->pieces; i++)
        LLVMDisposeModule(g->piece[i]);
    LLVMDisposeModule(g->templates);
    LLVMContextDispose(g->llvm);
    arena_trim(g->cx->scratch);
    malloc_trim(0); // other threads have heaps of their own
}

void pieces_compile(Codegen *g, const char *emit_text, ObjectCode *object)
{
    Pieces pieces = {.g = g, .emit_text = emit_text}, *p = &pieces;
    put_together(g);
    p->piece[0].entries = g->entries_apart;
    for (int i = 0; i < g->pieces; i++)
        p->piece[i].bitcode = LLVMWriteBitcodeToMemoryBuffer(g->piece[i]);
    close_modules(g);
    run_all(p);
    ObjectFile *file = NEW_ARRAY(g->cx->arena, ObjectFile, g->pieces);
    for (int i = 0; i < g->pieces; i++)
        file[i] = take(g, &p->piece[i]);
    object->files = g->pieces;
    object->file = file;
}
