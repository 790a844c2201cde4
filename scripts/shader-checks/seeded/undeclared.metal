// What Metal's compiler must refuse.
#include <metal_stdlib>

kernel void main_(device uint *x [[buffer(0)]], uint lane [[thread_index_in_threadgroup]])
{
    x[lane] = undeclared;
}
