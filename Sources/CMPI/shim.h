// Open MPI's handles (MPI_COMM_WORLD, MPI_FLOAT, MPI_IN_PLACE …) are macros with casts, which Swift cannot import:
// one `static inline` function for each that is used. No logic here.
#ifndef LOCKSTEP_CMPI_SHIM_H
#define LOCKSTEP_CMPI_SHIM_H
#include <mpi.h>
static inline MPI_Comm lockstep_comm_world(void) { return MPI_COMM_WORLD; }
#endif
