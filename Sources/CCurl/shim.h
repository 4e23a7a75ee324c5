// libcurl, opened at first use: most runs of the launcher fetch nothing, and hosts that run its agents need not have it.
// Its functions have variable arguments, which Swift cannot call. Names and numbers are those of curl/curl.h, which libcurl
// keeps for good (https://curl.se/libcurl/abi.html); no header of its own is needed.

#ifndef LOCKSTEP_CCURL_SHIM_H
#define LOCKSTEP_CCURL_SHIM_H

#include <dlfcn.h>
#include <stddef.h>

/// The functions of an open libcurl.
struct lockstep_curl {
  void *global_init, *easy_init, *easy_reset, *easy_setopt, *easy_perform, *easy_getinfo, *easy_cleanup, *easy_strerror;
  void *slist_append, *slist_free_all;
};

/// Called with a piece of the answer; gives back how many bytes it took, which is all of them or the transfer ends.
typedef size_t (*lockstep_curl_taker)(char *bytes, size_t size, size_t count, void *context);

/// Opens the library `name` and fills `curl`; 0 where it is there and has all functions.
static inline int lockstep_curl_open(const char *name, struct lockstep_curl *curl) {
  void *library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
  if (!library) return -1;
  curl->global_init = dlsym(library, "curl_global_init");
  curl->easy_init = dlsym(library, "curl_easy_init");
  curl->easy_reset = dlsym(library, "curl_easy_reset");
  curl->easy_setopt = dlsym(library, "curl_easy_setopt");
  curl->easy_perform = dlsym(library, "curl_easy_perform");
  curl->easy_getinfo = dlsym(library, "curl_easy_getinfo");
  curl->easy_cleanup = dlsym(library, "curl_easy_cleanup");
  curl->easy_strerror = dlsym(library, "curl_easy_strerror");
  curl->slist_append = dlsym(library, "curl_slist_append");
  curl->slist_free_all = dlsym(library, "curl_slist_free_all");
  if (!curl->global_init || !curl->easy_init || !curl->easy_reset || !curl->easy_setopt || !curl->easy_perform ||
      !curl->easy_getinfo || !curl->easy_cleanup || !curl->easy_strerror || !curl->slist_append || !curl->slist_free_all)
    return -1;
  return ((int (*)(long))curl->global_init)(3 /* CURL_GLOBAL_ALL */);
}

static inline void *lockstep_curl_begin(const struct lockstep_curl *curl) {
  return ((void *(*)(void))curl->easy_init)();
}

static inline void lockstep_curl_reset(const struct lockstep_curl *curl, void *handle) {
  ((void (*)(void *))curl->easy_reset)(handle);
}

static inline void lockstep_curl_end(const struct lockstep_curl *curl, void *handle) {
  ((void (*)(void *))curl->easy_cleanup)(handle);
}

static inline int lockstep_curl_set_number(const struct lockstep_curl *curl, void *handle, int option, long value) {
  return ((int (*)(void *, int, ...))curl->easy_setopt)(handle, option, value);
}

static inline int lockstep_curl_set_text(const struct lockstep_curl *curl, void *handle, int option, const char *value) {
  return ((int (*)(void *, int, ...))curl->easy_setopt)(handle, option, value);
}

static inline int lockstep_curl_set_pointer(const struct lockstep_curl *curl, void *handle, int option, void *value) {
  return ((int (*)(void *, int, ...))curl->easy_setopt)(handle, option, value);
}

static inline int lockstep_curl_set_taker(
    const struct lockstep_curl *curl, void *handle, int option, lockstep_curl_taker value) {
  return ((int (*)(void *, int, ...))curl->easy_setopt)(handle, option, value);
}

static inline int lockstep_curl_perform(const struct lockstep_curl *curl, void *handle) {
  return ((int (*)(void *))curl->easy_perform)(handle);
}

static inline const char *lockstep_curl_text(const struct lockstep_curl *curl, int code) {
  return ((const char *(*)(int))curl->easy_strerror)(code);
}

/// The list with `line` behind its end.
static inline void *lockstep_curl_append(const struct lockstep_curl *curl, void *list, const char *line) {
  return ((void *(*)(void *, const char *))curl->slist_append)(list, line);
}

static inline void lockstep_curl_free(const struct lockstep_curl *curl, void *list) {
  ((void (*)(void *))curl->slist_free_all)(list);
}

#endif
