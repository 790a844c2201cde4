// What DXC and FXC must refuse.
RWByteAddressBuffer x : register(u0);

[numthreads(64, 1, 1)]
void main(uint lane : SV_GroupIndex)
{
    x.Store(lane * 4, undeclared);
}
