// What host and device have in common beside the arithmetic.
template <class X> HD X neg(X a) { return -a; }
template <class X> HD X larger(X a, X b) { return a >= b || a != a ? a : b; }
template <class X> HD X sign(X a) { return a > 0 ? (X)1 : a < 0 ? (X)-1 : a; }

// A tensor: where its arrays lie, how many elements, which row of constants, whether every array is
// aligned to 128 bits, and its number among the optimizer's parameters.
struct Entry { u64 array[ARRAYS]; long long n; int row, aligned; long long number; };
struct Row { T k[CONSTANTS]; u32 t; };
struct Args {
  const Entry* entries;
  const int2* work;  // (entry, chunk)
  const Row* rows;   // null: few
  const float* grad_scale;
  const float* found_inf;
  u64 seed;
  int n_work, pad;
  Row few[FEW];
};
