/* The one function of Windows' bcryptprimitives.dll that Rust's library takes, which Wine 8 lacks:
   random bytes, from Wine's own source of them. For the tests alone. */
#include <windows.h>
#include <ntsecapi.h>

__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE data, SIZE_T length) {
    return RtlGenRandom(data, (ULONG)length);
}
