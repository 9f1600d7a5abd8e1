// Written by golden_folds.py with scikit-learn 1.9.1.

enum { ROWS = 203, FOLDS = 5, CLASSES = 4 };

static const int kfold_sizes[5] = {41, 41, 41, 40, 40};

static const int stratified_counts[5][4] = {{6, 2, 3, 30}, {6, 2, 3, 30}, {5, 3, 4, 29}, {5, 3, 3, 29}, {5, 3, 3, 29}};

static const int grouped_sizes[5] = {39, 41, 41, 41, 41};

static const double stratified_group_spread = 0.033662;

// rows trained on, first and last held out + 1
static const int time_spans[5][3] = {{38, 38, 71}, {71, 71, 104}, {104, 104, 137}, {137, 137, 170}, {170, 170, 203}};
