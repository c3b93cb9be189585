/* Graphs of a mien bundle from C, over ONNX Runtime. docs/embedding.md says how to build it.
 *
 *   mien_graph *graph;
 *   if (mien_open("vaegan", "encode", 0, &graph) != MIEN_OK) puts(mien_last_error());
 *
 * Arrays are dense and row by row; pictures are uint8 RGB [N, H, W, 3], 0..255. Nothing is cast: an
 * input of another type or size than the graph's is an error. A graph may be run by any number of
 * threads at once. Messages are those of the calling thread.
 */
#ifndef MIEN_BUNDLE_H
#define MIEN_BUNDLE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MIEN_MAX_RANK 8

typedef enum mien_status {
  MIEN_OK = 0,
  MIEN_NO_BUNDLE = 1,    /* no bundle.json, or not one that can be read */
  MIEN_OTHER_SCHEMA = 2, /* a schema version that this client does not know */
  MIEN_NO_GRAPH = 3,     /* the bundle has no graph of that name */
  MIEN_BAD_INPUT = 4,    /* missing, unknown, or of another type or size */
  MIEN_RUNTIME = 5,      /* what ONNX Runtime reports */
  MIEN_NOT_FINITE = 6    /* NaN or infinity in an output: the result is void */
} mien_status;

typedef enum mien_type {
  MIEN_FLOAT32 = 0,
  MIEN_UINT8 = 1,
  MIEN_INT32 = 2,
  MIEN_INT64 = 3,
  MIEN_BOOL = 4
} mien_type;

/* An array. What a call takes it does not keep; what it returns is its own until the result is
 * freed. */
typedef struct mien_array {
  const char *name;
  mien_type type;
  size_t rank;
  int64_t shape[MIEN_MAX_RANK];
  const void *data;
} mien_array;

/* What a graph takes or makes. A size of -1 is any; equal names of the manifest are equal sizes. */
typedef struct mien_port {
  const char *name;
  mien_type type;
  size_t rank;
  int64_t shape[MIEN_MAX_RANK];
} mien_port;

typedef struct mien_graph mien_graph;
typedef struct mien_result mien_result;

/* Open one graph of a bundle's folder. threads: of each call; 0 lets ONNX Runtime choose. */
mien_status mien_open(const char *folder, const char *graph, int threads, mien_graph **opened);
void mien_close(mien_graph *graph);

size_t mien_input_count(const mien_graph *graph);
size_t mien_output_count(const mien_graph *graph);
const mien_port *mien_input(const mien_graph *graph, size_t index);
const mien_port *mien_output(const mien_graph *graph, size_t index);

/* Run a graph once. Inputs come in any order; outputs in that of the manifest. */
mien_status mien_run(const mien_graph *graph, const mien_array *inputs, size_t count,
                     mien_result **made);
size_t mien_result_count(const mien_result *result);
const mien_array *mien_result_array(const mien_result *result, size_t index);
const mien_array *mien_result_named(const mien_result *result, const char *name);
void mien_free(mien_result *result);

/* What went wrong in this thread's last call, on one line. */
const char *mien_last_error(void);

#ifdef __cplusplus
}
#endif
#endif
