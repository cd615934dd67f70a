/* What this Windows refuses, by the smallest call that shows it: a line each, with the error's
   number, 0 where it is not refused. */
#include <winsock2.h>
#include <ws2tcpip.h>
#include <iphlpapi.h>
#include <stdio.h>

static void set(SOCKET socket, const char *name, int level, int option) {
    DWORD on = 1;
    int refused = setsockopt(socket, level, option, (char *)&on, sizeof on);
    printf("%s %d\n", name, refused ? WSAGetLastError() : 0);
}

int main(void) {
    WSADATA data;
    WSAStartup(MAKEWORD(2, 2), &data);
    SOCKET udp4 = socket(AF_INET, SOCK_DGRAM, IPPROTO_UDP);
    SOCKET udp6 = socket(AF_INET6, SOCK_DGRAM, IPPROTO_UDP);
    SOCKET tcp = socket(AF_INET, SOCK_STREAM, IPPROTO_TCP);
    /* Numbers of the Windows SDK's ws2ipdef.h, where mingw's headers lack the name. */
    set(udp4, "IP_DONTFRAGMENT", IPPROTO_IP, 14);
    set(udp4, "IP_PKTINFO", IPPROTO_IP, 19);
    set(udp4, "IP_RECVECN", IPPROTO_IP, 50);
    set(udp6, "IPV6_RECVECN", IPPROTO_IPV6, 50);
    set(tcp, "TCP_KEEPIDLE", IPPROTO_TCP, 3);
    set(tcp, "TCP_KEEPINTVL", IPPROTO_TCP, 17);
    set(tcp, "TCP_KEEPCNT", IPPROTO_TCP, 16);
    /* To a group of its own, as a console's Ctrl-Break does. */
    printf("CTRL_BREAK_EVENT %lu\n", GenerateConsoleCtrlEvent(CTRL_BREAK_EVENT, GetCurrentProcessId()) ? 0 : GetLastError());
    static char adapters[65536];
    ULONG size = sizeof adapters;
    printf("GetAdaptersAddresses %lu\n",
           GetAdaptersAddresses(AF_UNSPEC, GAA_FLAG_INCLUDE_PREFIX, NULL, (IP_ADAPTER_ADDRESSES *)adapters, &size));
    return 0;
}
