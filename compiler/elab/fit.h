// fit.h: statistics of the training rows, which `prepare` of a data set reads.
//
// `fitted(x, start, step, finish)` stands for a tensor that is known only after the training rows
// were seen. In the trace of prepare it is a parameter; start, step and finish are traced in the
// same function, so they may use whatever prepare has computed by then, other statistics included:
//
//     prepare(s)      x = s.age                      fields
//                     mean = parameter               what fitted gives
//                     start, next, done              values that nothing of prepare reads
//                     result (x - mean)
//
// fit_close makes functions of their own of these values (start, step and finish of each level) and
// takes them out of prepare. A statistic has a level above those that it is made of.

#ifndef AML_ELAB_FIT_H
#define AML_ELAB_FIT_H

#include "elab/job.h"

typedef struct FitStatistic {
    aml_statistic table; // everything but output
    Inst *param;
    Inst *value; // FOLD: what finish gives; else what is looked at in each row
    Span span;
    bool labels; // it may be made of labels
} FitStatistic;

typedef struct FitAccumulator {
    Inst *param, *start, *next;
    int level;
} FitAccumulator;

struct Fitting {
    Trace *trace; // of prepare
    Sym dataset;
    Vec(FitStatistic) statistic;
    Vec(FitAccumulator) accumulator; // by rising level once the trace is complete
    int outputs;                     // of prepare itself
};

// ---- builtin_fit.c

// Whether `root` is computed from the parameter.
bool fit_reads(Elab *e, Inst *root, const Inst *param);

// ---- job_fit.c

// At the end of the trace of prepare: what has to be computed besides its outputs becomes outputs
// behind them, and its inputs are put into order.
void fit_results(Jobs *jobs, Fitting *fitting, int fields, Entry *prepare);
// Once the trace is an entry: the functions of each level.
void fit_close(Jobs *jobs, Fitting *fitting, ProgramDataset *data);
// Rows of the job's states that hold the statistics of its data set.
void fit_rows(const ProgramDataset *data, ProgramJob *job, Jobs *jobs);

#endif
