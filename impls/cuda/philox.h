// Philox4x32 with 7 rounds: J. Salmon, M. Moraes, R. Dror, D. Shaw, "Parallel random numbers: as easy
// as 1, 2, 3", SC 2011, doi:10.1145/2063384.2063405.  Four words for each element of each tensor in
// each step, whatever the order in which elements are taken.
struct Words { u32 w[4]; };

HD Words philox(u64 element, u32 step, u32 tensor, u64 seed) {
  u32 a = (u32)element, b = (u32)(element >> 32), c = step, d = tensor;
  u32 k0 = (u32)seed, k1 = (u32)(seed >> 32);
  for (int round = 0; round < 7; round++) {
    const u64 x = (u64)0xD2511F53u * a, y = (u64)0xCD9E8D57u * c;
    a = (u32)(y >> 32) ^ b ^ k0;
    b = (u32)y;
    c = (u32)(x >> 32) ^ d ^ k1;
    d = (u32)x;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return Words{{a, b, c, d}};
}

// A float to bfloat16, up or down with odds that make its mean the float.
HD u16 stochastic(float x, u32 word) {
  const u32 bits = bits_of(x);
  const u32 added = bits + (word & 0xFFFFu);
  const bool finite = (bits & 0x7F800000u) != 0x7F800000u;
  return finite ? (u16)(added >> 16) : nearest(x);
}
