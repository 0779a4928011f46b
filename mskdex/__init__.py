"""MSKdeX: muscle and bone, object by object, from one plain radiograph."""

__version__ = "0.1.0"
