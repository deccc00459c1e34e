// One IEEE rounding for every call, on the host.  Built with -ffp-contract=off; a processor without
// fused multiply-add calls the library's, which gives the same bits.
#include <stdint.h>
#define HD static inline __attribute__((always_inline))
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
struct int2 { int x, y; };

HD float add(float a, float b) { return a + b; }
HD float sub(float a, float b) { return a - b; }
HD float mul(float a, float b) { return a * b; }
HD float div(float a, float b) { return a / b; }
HD float fused(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
HD float root(float a) { return __builtin_sqrtf(a); }
HD float size(float a) { return __builtin_fabsf(a); }

HD double add(double a, double b) { return a + b; }
HD double sub(double a, double b) { return a - b; }
HD double mul(double a, double b) { return a * b; }
HD double div(double a, double b) { return a / b; }
HD double fused(double a, double b, double c) { return __builtin_fma(a, b, c); }
HD double root(double a) { return __builtin_sqrt(a); }
HD double size(double a) { return __builtin_fabs(a); }

HD double power(double a, double b) { return __builtin_pow(a, b); }

HD u32 bits_of(float x) { u32 u; __builtin_memcpy(&u, &x, 4); return u; }
HD float of_bits(u32 u) { float x; __builtin_memcpy(&x, &u, 4); return x; }

// bfloat16 and float16 as they lie in memory
struct b16 { u16 u; };
typedef _Float16 f16;

// To even.  A NaN whose lower bits are set would be carried over into a number; there is none where
// all that comes in is b16, and a scalar that is NaN the usual one.
HD u16 nearest(float x) {
  const u32 u = bits_of(x);
  const u32 rounded = (u + 0x7FFFu + ((u >> 16) & 1)) >> 16;
  return !ONLY_B16 && x != x ? (u16)0x7FFF : (u16)rounded;
}
HD float usual(float x) { return x != x ? __builtin_nanf("") : x; }
HD double usual(double x) { return x != x ? __builtin_nan("") : x; }
HD u32 word(const b16* at) { u32 w; __builtin_memcpy(&w, at, 4); return w; }
HD void put(b16* at, u32 w) { __builtin_memcpy(at, &w, 4); }

HD float widened(float x) { return x; }
HD double widened(double x) { return x; }
HD float widened(f16 x) { return (float)x; }
HD float widened(b16 x) { return of_bits((u32)x.u << 16); }
HD void narrow(float& to, float x) { to = x; }
HD void narrow(double& to, double x) { to = x; }
HD void narrow(f16& to, float x) { to = (f16)x; }
HD void narrow(b16& to, float x) { to.u = nearest(x); }
