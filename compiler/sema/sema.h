// sema/: names and schemas. From a path to a Unit: every file that takes part, every name bound to
// its declaration, every block checked against the schema of its kind.
//
// The idea: a name means the innermost of: a local (parameter, let, loop variable, dimension of the
// signature), a member of the model around it, a declaration of its own file, one of a file it uses
// (use is transitive: what a used file uses comes along), one of the prelude (stdlib/prelude.aml
// and ops.aml, always in scope). A declaration hides those further out; two used files of the user
// with the same name are a mistake. Nothing is evaluated here: the tree stays as parsed, and
// lookups go through the Unit. unit_load and unit_load_text are declared in compile.h.
//
//   load.c      files: the main one and what it uses
//   library.c   the standard library (embedded), read as far as it is needed
//   scope.c     declarations and lookups
//   resolve.c   every name in every body has a declaration
//   schema.c    blocks against their schemas
//   explain.c   amlc explain
//   manual.c    the reference manual

#ifndef AML_SEMA_H
#define AML_SEMA_H

#include "ast/ast.h"
#include "compile.h"
#include "diag/diag.h"

typedef struct UnitFile UnitFile;
struct UnitFile {
    uint32_t file; // number in cx->source
    Sym module;    // "std.nn" for the files of stdlib/nn/, NULL for a user's file
    bool is_std;
    Node *ast; // File; of the library only after unit_read_library, like the comments
    CommentList comments;
    Vec(UnitFile *) uses; // direct, in order
    Map own;  // name -> declaration node made in this file (Const, Option, Fn, Model, Loss, Metric,
              // Optimizer, Job)
    Map grad; // name -> Grad node of this file
    Map lost; // names in text that was skipped after syntax errors, here and in what is used
    bool incomplete; // something it uses could not be found
    Map scope;       // name -> declaration seen from this file, besides the prelude: own, used
    bool has_scope;  // it was put together: unit_scope
};

struct Unit {
    Cx *cx;
    UnitFile *main;
    Vec(UnitFile *) file;      // a used file comes before its users; the library first
    Vec(UnitFile *) by_number; // of cx->source; NULL for what is no file of the program
    Map schema;                // kind -> Schema node (of the standard library)
    NodeList job; // Job nodes of the user's files, in file order, then order of writing
    Map std;      // name -> declaration, of the whole standard library
    Map prelude;  // name -> declaration that every file sees
};
// The maps have Unread nodes of what nobody has looked up yet; the functions below give what was
// read.

// ---- scope.c: declarations and lookups

UnitFile *unit_file(const Unit *unit, uint32_t file); // NULL: not a file of this program
Node *unit_lookup(const Unit *unit, uint32_t file,
                  Sym name); // what `name` means at top level of that file; NULL: nothing
Node *file_lookup(const Unit *unit, UnitFile *file, Sym name); // the same
Node *unit_std(const Unit *unit,
               const char *name); // a declaration of the standard library, used or not; NULL: none
Node *unit_grad(const Unit *unit,
                const Node *fn); // the Grad of a Fn (they stand in one file); NULL: none
Node *unit_schema(const Unit *unit, Sym kind);    // NULL: unknown kind
Node *schema_entry(const Node *schema, Sym name); // the Entry; NULL: no such setting
Node *job_setting(const Node *job, Sym name);     // the Setting; NULL: not written
// Whether a setting that the schema does not have is probably a misspelled `name`.
bool job_misspells(Cx *cx, const Node *job, const Node *schema, Sym name);
Node *job_function(const Node *job, Sym name); // a Fn of the block; NULL
Node *job_field(const Node *job, Sym name);    // a Field of the block; NULL
bool oneof_has(const Node *type, Sym word);    // type is a OneOf (or a bare word) with that choice

Sym declaration_name(const Node *declaration);        // NULL if the kind has none
Span declaration_span(const Node *declaration);       // of the name: what a note points at
const char *declaration_doc(const Node *declaration); // NULL: not documented
const NodeList *
declaration_params(const Node *declaration);           // Param nodes; NULL for what is not called
const char *declaration_what(const Node *declaration); // "a model", "a function", ...

// A file's doc comment (the first one, before any declaration) is File.doc.

// ---- resolve.c, schema.c: called by unit_load; report what is wrong
void unit_resolve(Unit *unit);
void unit_check_jobs(Unit *unit);
void unit_resolve_library(Unit *unit); // the standard library itself; for the tests

// ---- load.c
UnitFile *unit_add_file(Unit *unit, uint32_t file, Sym module, bool is_std);
bool unit_use(Unit *unit, UnitFile *user, Sym module);       // false: there is no such module
Map *unit_map_of(Unit *unit, UnitFile *file, NodeKind kind); // where such a declaration is found
void unit_check_gradients(Unit *unit, UnitFile *file);
// What the file sees besides the prelude; for a file of the user the first call reports ambiguous
// names.
const Map *unit_scope(const Unit *unit, UnitFile *file);

// ---- library.c
void library_load(Unit *unit);
Node *library_read(const Unit *unit, Node *node); // what stands in a map; NULL stays NULL
void unit_read_library(Unit *unit); // all of it, with comments: the manual and the tests

typedef Vec(const char *) NameList;
// All names that a file sees at top level, those of the prelude first.
void unit_names(const Unit *unit, UnitFile *file, NameList *out);
// The standard library's folder modules: "std.nn", "std.optim", ...
void std_modules(Cx *cx, NameList *out);

// ---- explain.c: `amlc explain TOPIC`: a code (E0301, 301), a message's name (shape_mismatch), a
// setting (train.clip), a kind (train), a name of the standard library (Dense), a unit. Writes to
// `out`. Exit code: 0, or 1 after a report to cx.
int explain(Cx *cx, const char *topic, FILE *out);
const char *node_source(Cx *cx, Span span);                  // the text, on one line
const char *declaration_signature(Cx *cx, const Node *node); // a declaration up to its body

// ---- manual.c: `amlc explain manual`: the reference manual as Markdown, a file for each page in
// `folder`, or all of it to `out` if that is NULL. Returns the path that could not be written, or
// NULL.
const char *manual_write(Cx *cx, const char *folder, FILE *out);

#endif
