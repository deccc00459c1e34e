// One IEEE rounding for every call, on the device: no compiler option contracts or relaxes these.
#define HD __device__ __forceinline__
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

HD float add(float a, float b) { return __fadd_rn(a, b); }
HD float sub(float a, float b) { return __fsub_rn(a, b); }
HD float mul(float a, float b) { return __fmul_rn(a, b); }
HD float div(float a, float b) { return __fdiv_rn(a, b); }
HD float fused(float a, float b, float c) { return __fmaf_rn(a, b, c); }
HD float root(float a) { return __fsqrt_rn(a); }
HD float size(float a) { return fabsf(a); }

HD double add(double a, double b) { return __dadd_rn(a, b); }
HD double sub(double a, double b) { return __dsub_rn(a, b); }
HD double mul(double a, double b) { return __dmul_rn(a, b); }
HD double div(double a, double b) { return __ddiv_rn(a, b); }
HD double fused(double a, double b, double c) { return __fma_rn(a, b, c); }
HD double root(double a) { return __dsqrt_rn(a); }
HD double size(double a) { return fabs(a); }

HD double power(double a, double b) { return pow(a, b); }

HD u32 bits_of(float x) { return __float_as_uint(x); }
HD float of_bits(u32 u) { return __uint_as_float(u); }

// bfloat16 and float16 as they lie in memory
struct b16 { u16 u; };
struct f16 { u16 u; };

HD u16 nearest(float x) {
  u16 u;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(u) : "f"(x));
  return u;
}

HD float widened(float x) { return x; }
HD double widened(double x) { return x; }
HD float widened(b16 x) { return of_bits((u32)x.u << 16); }
HD float widened(f16 x) {
  float f;
  asm("cvt.f32.f16 %0, %1;" : "=f"(f) : "h"(x.u));
  return f;
}
HD void narrow(float& to, float x) { to = x; }
HD void narrow(double& to, double x) { to = x; }
HD void narrow(b16& to, float x) { to.u = nearest(x); }
HD void narrow(f16& to, float x) { asm("cvt.rn.f16.f32 %0, %1;" : "=h"(to.u) : "f"(x)); }

// 128 bits at a time: V elements of a storage type S, V * sizeof(S) a multiple of 16.
template <class S, int V> HD void fetch(const S* from, S (&to)[V]) {
#pragma unroll
  for (int q = 0; q < (int)(V * sizeof(S) / 16); q++)
    reinterpret_cast<uint4*>(to)[q] = reinterpret_cast<const uint4*>(from)[q];
}
template <class S, int V> HD void put(S* to, const S (&from)[V]) {
#pragma unroll
  for (int q = 0; q < (int)(V * sizeof(S) / 16); q++)
    reinterpret_cast<uint4*>(to)[q] = reinterpret_cast<const uint4*>(from)[q];
}
