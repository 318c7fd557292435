#define PY_SSIZE_T_CLEAN
#include <Python.h>

static PyObject *count(PyObject *module, PyObject *text)
{
    Py_ssize_t letters = 0;

    if (!PyUnicode_Check(text)) {
        PyErr_SetString(PyExc_TypeError, "count() takes a string");
        return NULL;
    }
    for (Py_ssize_t index = 0; index < PyUnicode_GetLength(text); index++) {
        letters += Py_UNICODE_ISALPHA(PyUnicode_ReadChar(text, index)) != 0;
    }
    return PyLong_FromSsize_t(letters);
}

static PyMethodDef methods[] = {
    {"count", count, METH_O, "count(text): how many letters are in it"},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "native._count", NULL, 0, methods};

PyMODINIT_FUNC PyInit__count(void)
{
    return PyModule_Create(&module);
}
